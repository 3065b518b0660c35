#include "api/set_traits.h"

#include "api/ref.h"

static enum problem refuse(struct set_traits_refusal *refusal, enum problem problem, struct str pointer,
			   struct str message)
{
	*refusal = (struct set_traits_refusal){.message = message, .pointer = pointer};
	return problem;
}

static bool read_provenance(struct str name, uint32_t *flags)
{
	*flags = 0;
	if (name.len == 0 || str_eq(name, str_from(provenance_name(PROVENANCE_OBSERVED)))) return true;
	*flags = EVENT_DECLARED;
	if (str_eq(name, str_from(provenance_name(PROVENANCE_DECLARED)))) return true;
	*flags = EVENT_INFERRED;
	return str_eq(name, str_from(provenance_name(PROVENANCE_INFERRED)));
}

static bool is_source_name(struct str name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	for (size_t i = 0; i < name.len; i++)
		if (!memchr(allowed, name.ptr[i], sizeof allowed - 1)) return false;
	return name.len <= INGEST_SOURCE_MAX;
}

/* The fold knows identifiers, not profiles. */
static enum problem resolve(struct api_worker *worker, struct str ref, struct arena *arena, struct str *out,
			    struct set_traits_refusal *refusal)
{
	uint64_t applied;
	struct str text = STR_NONE, message;
	if (!str_starts(ref, STR("id:"))) return arena_str(arena, ref, out) == OK ? PROBLEM_NONE : PROBLEM_INTERNAL;
	arena_reset(&worker->scratch);
	int rc = people_read_begin(worker->reader, &applied);
	if (rc == OK) {
		rc = people_resolve(worker->reader, ref, &worker->scratch, &text);
		people_read_end(worker->reader);
	}
	if (rc == OK) rc = arena_str(arena, text, out);
	enum problem problem = ref_problem(rc, &message);
	return refuse(refusal, problem, problem == PROBLEM_INTERNAL ? STR_NONE : STR("/ref"), message);
}

static enum problem check_model(const struct set_traits *what, uint32_t flags, struct set_traits_refusal *refusal)
{
	if (!what->has_model) return PROBLEM_NONE;
	if (!(flags & EVENT_INFERRED))
		return refuse(refusal, PROBLEM_SCHEMA_VIOLATION, STR("/model"),
			      STR("only what is inferred is a model's: \"provenance\":\"inferred\""));
	if (what->model.len == 0 || what->model.len > INGEST_MODEL_MAX)
		return refuse(refusal, PROBLEM_SCHEMA_VIOLATION, STR("/model/name"), STR("must be 1 to 64 bytes"));
	if (what->model_version.len > INGEST_MODEL_MAX)
		return refuse(refusal, PROBLEM_SCHEMA_VIOLATION, STR("/model/version"),
			      STR("must be at most 64 bytes"));
	return PROBLEM_NONE;
}

enum problem set_traits_describe(const struct set_traits *what, struct arena *arena, struct ingest_traits *told,
				 struct set_traits_refusal *refusal)
{
	*told = (struct ingest_traits){.ref = STR_NONE,
				       .message_id = STR_NONE,
				       .time_us = what->time_us,
				       .model = STR_NONE,
				       .model_version = STR_NONE};
	if (!read_provenance(what->provenance, &told->flags))
		return refuse(refusal, PROBLEM_SCHEMA_VIOLATION, STR("/provenance"),
			      STR("must be declared, observed or inferred"));
	if (!is_source_name(what->source))
		return refuse(refusal, PROBLEM_SCHEMA_VIOLATION, STR("/source"),
			      STR("a source has 1 to 64 letters, digits, '.', '_' or '-'"));
	enum problem problem = check_model(what, told->flags, refusal);
	if (problem != PROBLEM_NONE) return problem;
	int rc = arena_str(arena, what->source.len ? what->source : what->token, &told->source);
	if (rc == OK && what->has_model) rc = arena_str(arena, what->model, &told->model);
	if (rc == OK && what->has_model) rc = arena_str(arena, what->model_version, &told->model_version);
	return rc == OK ? PROBLEM_NONE : PROBLEM_INTERNAL;
}

enum problem set_traits_prepare(struct api_worker *worker, const struct set_traits *what, struct arena *arena,
				struct ingest_request *out, struct set_traits_refusal *refusal)
{
	struct ingest_traits *told = arena_new(arena, struct ingest_traits);
	*refusal = (struct set_traits_refusal){STR_NONE, STR_NONE};
	if (!told) return PROBLEM_INTERNAL;
	enum problem problem = set_traits_describe(what, arena, told, refusal);
	if (problem == PROBLEM_NONE) problem = resolve(worker, what->ref, arena, &told->ref, refusal);
	if (problem != PROBLEM_NONE) return problem;
	int rc = arena_str(arena, what->message_id, &told->message_id);
	buf_clear(&worker->out);
	if (rc == OK) rc = buf_append_str(&worker->out, what->traits);
	if (rc != OK) return rc == ERR_TOO_LARGE ? PROBLEM_TOO_LARGE : PROBLEM_INTERNAL;
	out->dialect = DIALECT_TRAITS;
	out->traits = told;
	out->body = buf_str(&worker->out);
	return PROBLEM_NONE;
}
