/* From what the rooms tell to messages, and whether the tables of methods say who may. */
#include "rpc/rpc_test.h"

#include "cdpd/v1/event_service.pb-c.h"
#include "rpc/convert.h"
#include "rpc/publish.h"
#include "rpc/rpc.h"

static struct arena arena;

static int setup(void **state)
{
	(void)state;
	arena_init(&arena, 4096, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_fini(&arena);
	return 0;
}

static void texts_end_where_they_end(void **state)
{
	(void)state;
	const char text[] = "abcdef";
	assert_string_equal(convert_text(&arena, str_of(text, 3)), "abc");
	assert_string_equal(convert_text(&arena, STR_NONE), "");
	assert_string_equal(convert_text(&arena, STR("a\0b\0")), "a\xef\xbf\xbd"
								 "b\xef\xbf\xbd");
}

static void no_memory_is_an_error(void **state)
{
	(void)state;
	struct arena small;
	Cdpd__V1__Profile *out;
	char **texts;
	static const struct str names[] = {{"a", 1}};
	char position[] = "p";
	const struct profile profile = {0};
	arena_init(&small, 256, 256);
	while (arena_alloc(&small, 1)) continue;
	assert_null(convert_text(&small, STR("text")));
	assert_int_equal(convert_profile(&small, &profile, position, &out), ERR_NOMEM);
	assert_int_equal(convert_texts(&small, names, 1, &texts), ERR_NOMEM);
	arena_fini(&small);
}

static void a_person(void **state)
{
	(void)state;
	struct profile_identifier identifiers[] = {
	    {.namespace_ = STR("user_id"), .value = STR("42"), .first_seen = 1, .last_seen = 2, .event_count = 3}};
	struct profile_trait traits[] = {
	    {.name = STR("a"),
	     .value = STR("1"),
	     .provenance = PROVENANCE_DECLARED,
	     .source = STR("crm"),
	     .is_winner = true,
	     .origin = {.form = STR("fit"), .question = STR("size"), .version = 2},
	     .updated_at = 9},
	    {.name = STR("a"), .value = STR("2"), .provenance = PROVENANCE_INFERRED, .source = STR("model")},
	    {.name = STR("b"),
	     .value = STR("3"),
	     .provenance = PROVENANCE_OBSERVED,
	     .source = STR("web"),
	     .is_winner = true},
	    {.name = STR("c"),
	     .value = STR("4"),
	     .provenance = PROVENANCE_DECLARED,
	     .source = STR("web"),
	     .is_expired = true},
	    {.name = STR("d"),
	     .value = STR("5"),
	     .provenance = PROVENANCE_DECLARED,
	     .source = STR("web"),
	     .is_expired = true},
	};
	struct profile_feature features[] = {{.name = STR("orders"), .value = STR("7")}};
	struct str segments[] = {STR("buyers"), STR("lately")};
	struct profile_consent consents[] = {{.record = {.purpose = STR("news"),
							 .channel = STR("email"),
							 .time = 4,
							 .source = STR("web"),
							 .message_id = STR("m")},
					      .state = CONSENT_EXPIRED}};
	const struct profile profile = {
	    .id = {{1}},
	    .requested_id = {{2}},
	    .identifiers = identifiers,
	    .identifier_count = 1,
	    .traits = traits,
	    .trait_count = COUNT_OF(traits),
	    .features = features,
	    .feature_count = 1,
	    .segments = segments,
	    .segment_count = 2,
	    .consents = consents,
	    .consent_count = 1,
	    .first_seen = 11,
	    .last_seen = 12,
	};
	char position[] = "here";
	Cdpd__V1__Profile *out;
	assert_int_equal(convert_profile(&arena, &profile, position, &out), OK);

	/* Over the wire and back. */
	struct buf wire;
	buf_init(&wire, 1 << 16);
	assert_int_equal(convert_pack(&wire, &out->base), OK);
	Cdpd__V1__Profile *got = cdpd__v1__profile__unpack(NULL, wire.len, (const uint8_t *)buf_ptr(&wire));
	assert_non_null(got);
	assert_string_equal(got->id, "01000000000000000000000000000000");
	assert_string_equal(got->requested_id, "02000000000000000000000000000000");
	assert_string_equal(got->position, "here");
	assert_int_equal(got->n_identifiers, 1);
	assert_string_equal(got->identifiers[0]->namespace_, "user_id");
	assert_int_equal(got->identifiers[0]->events, 3);
	assert_int_equal(got->n_traits, 4);
	assert_string_equal(got->traits[0]->name, "a");
	assert_string_equal(got->traits[0]->winner->origin->form, "fit");
	assert_int_equal(got->traits[0]->winner->provenance, CDPD__V1__PROVENANCE__PROVENANCE_DECLARED);
	assert_int_equal(got->traits[0]->n_others, 1);
	assert_int_equal(got->traits[0]->others[0]->provenance, CDPD__V1__PROVENANCE__PROVENANCE_INFERRED);
	assert_null(got->traits[0]->others[0]->origin);
	assert_memory_equal(got->traits[1]->winner->value.data, "3", 1);
	assert_int_equal(got->traits[1]->n_others, 0);
	for (size_t i = 2; i < 4; i++) {
		assert_null(got->traits[i]->winner);
		assert_int_equal(got->traits[i]->n_others, 1);
		assert_true(got->traits[i]->others[0]->expired);
	}
	assert_int_equal(got->n_segments, 2);
	assert_string_equal(got->segments[1], "lately");
	assert_int_equal(got->consents[0]->state, CDPD__V1__CONSENT_STATE__CONSENT_STATE_EXPIRED);
	assert_int_equal(got->features[0]->value.len, 1);
	cdpd__v1__profile__free_unpacked(got, NULL);
	buf_fini(&wire);
}

static void provenances_go_both_ways(void **state)
{
	(void)state;
	for (int i = 0; i < PROVENANCE_COUNT; i++)
		assert_string_equal(convert_provenance_name(convert_provenance((enum provenance)i)),
				    provenance_name((enum provenance)i));
	assert_string_equal(convert_provenance_name(CDPD__V1__PROVENANCE__PROVENANCE_UNSPECIFIED), "");
	assert_null(convert_provenance_name((Cdpd__V1__Provenance)77));
}

static void a_response_grows_piece_by_piece(void **state)
{
	(void)state;
	struct buf wire;
	Cdpd__V1__LookupProfilesResponse part = CDPD__V1__LOOKUP_PROFILES_RESPONSE__INIT;
	Cdpd__V1__LookupProfilesResponse rest = CDPD__V1__LOOKUP_PROFILES_RESPONSE__INIT;
	Cdpd__V1__LookedUp row = CDPD__V1__LOOKED_UP__INIT, *list = &row;
	char ref[] = "user_id:1", position[] = "p";
	part.profiles = &list;
	part.n_profiles = 1;
	row.ref = ref;
	rest.position = position;
	buf_init(&wire, 1 << 16);
	for (int i = 0; i < 3; i++) assert_int_equal(convert_pack(&wire, &part.base), OK);
	assert_int_equal(convert_pack(&wire, &rest.base), OK);
	Cdpd__V1__LookupProfilesResponse *got =
	    cdpd__v1__lookup_profiles_response__unpack(NULL, wire.len, (const uint8_t *)buf_ptr(&wire));
	assert_non_null(got);
	assert_int_equal(got->n_profiles, 3);
	assert_string_equal(got->position, "p");
	cdpd__v1__lookup_profiles_response__free_unpacked(got, NULL);
	buf_fini(&wire);
}

static void rejections(void **state)
{
	(void)state;
	const struct ingest_rejection from = {3, STR("m-1"), PROBLEM_BAD_TIMESTAMP, STR("/timestamp"), STR("when?")};
	Cdpd__V1__Rejection to;
	char position[POSITION_TEXT_SIZE];
	struct ingest_result result = {.position_seq = 0};
	assert_int_equal(publish_rejection(&arena, &from, &to), OK);
	assert_int_equal(to.index, 3);
	assert_string_equal(to.code, "bad_timestamp");
	assert_string_equal(to.pointer, "/timestamp");
	assert_string_equal(publish_position(&result, position), "");
	result.position_seq = 5;
	assert_true(strlen(publish_position(&result, position)) > 10);
}

/* Whatever a service offers says who may: a scope of the table, or a write key. */
static void every_method_names_who_may_use_it(void **state)
{
	(void)state;
	const struct grpc_service *const services[] = {&event_service, &profile_service};
	for (size_t i = 0; i < COUNT_OF(services); i++)
		for (size_t k = 0; k < services[i]->method_count; k++) {
			const struct grpc_method *method = &services[i]->methods[k];
			enum scope scope;
			assert_non_null(method->scope);
			assert_non_null(method->message);
			assert_non_null(method->closed);
			if (services[i] == &event_service)
				assert_string_equal(method->scope, "write_key");
			else if (!scope_from_name(str_from(method->scope), &scope))
				fail_msg("%s: unknown scope %s", method->name, method->scope);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(texts_end_where_they_end),          TEST(no_memory_is_an_error),           TEST(a_person),
	    TEST(provenances_go_both_ways),          TEST(a_response_grows_piece_by_piece), TEST(rejections),
	    TEST(every_method_names_who_may_use_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
