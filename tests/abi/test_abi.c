/* The layout of ABI 1.0, written down once: a 64-bit build must never move any of it within major version 1. Structs that grow may only
 * become larger. A line is added when something is appended; none is ever changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cdpd_plugin.h"

struct line {
	const char *what;
	size_t is, was;
};

#define AT(type, member, offset) \
	{ \
#type "." #member, offsetof(struct type, member), offset \
	}
#define SIZE(type, size) \
	{ \
#type, sizeof(struct type), size \
	}

static const struct line offsets[] = {
    AT(cdpd_str, ptr, 0),
    AT(cdpd_str, len, 8),
    AT(cdpd_option, name, 0),
    AT(cdpd_option, type, 8),
    AT(cdpd_option, is_required, 12),
    AT(cdpd_option, default_text, 16),
    AT(cdpd_option, min, 24),
    AT(cdpd_option, max, 32),
    AT(cdpd_option, values, 40),
    AT(cdpd_option, help, 48),
    AT(cdpd_options, item_size, 0),
    AT(cdpd_options, count, 8),
    AT(cdpd_options, items, 16),
    AT(cdpd_value, kind, 0),
    AT(cdpd_value, number, 8),
    AT(cdpd_value, text, 16),
    AT(cdpd_paths, count, 0),
    AT(cdpd_paths, items, 8),
    AT(cdpd_event_info, size, 0),
    AT(cdpd_event_info, utc_offset_min, 4),
    AT(cdpd_event_info, time_us, 8),
    AT(cdpd_event_info, received_us, 16),
    AT(cdpd_event_info, flags, 24),
    AT(cdpd_feature_input, size, 0),
    AT(cdpd_feature_input, time_us, 8),
    AT(cdpd_feature_input, utc_offset_min, 16),
    AT(cdpd_feature_input, message_id, 24),
    AT(cdpd_feature_input, kind, 40),
    AT(cdpd_feature_input, number, 48),
    AT(cdpd_feature_input, text, 56),
    AT(cdpd_feature_type, size, 0),
    AT(cdpd_feature_type, state_version, 4),
    AT(cdpd_feature_type, max_state, 8),
    AT(cdpd_feature_type, exact, 12),
    AT(cdpd_feature_type, needs_field, 13),
    AT(cdpd_feature_type, init, 16),
    AT(cdpd_feature_type, add, 24),
    AT(cdpd_feature_type, merge, 32),
    AT(cdpd_feature_type, read, 40),
    AT(cdpd_feature_type, flags, 48),
    AT(cdpd_feature_type, options, 56),
    AT(cdpd_feature_type, init_with, 80),
    AT(cdpd_feature_type, add_with, 88),
    AT(cdpd_feature_type, merge_with, 96),
    AT(cdpd_feature_type, read_with, 104),
    AT(cdpd_feature_type, state_max, 112),
    AT(cdpd_feature_type, check, 120),
    AT(cdpd_param, integer, 0),
    AT(cdpd_param, number, 8),
    AT(cdpd_param, text, 16),
    AT(cdpd_params, size, 0),
    AT(cdpd_params, count, 4),
    AT(cdpd_params, values, 8),
    AT(cdpd_record, size, 0),
    AT(cdpd_record, kind, 4),
    AT(cdpd_record, position, 8),
    AT(cdpd_record, delivery_id, 24),
    AT(cdpd_record, message_id, 40),
    AT(cdpd_record, profile_id, 56),
    AT(cdpd_record, json, 72),
    AT(cdpd_record, time_us, 88),
    AT(cdpd_record, attempt, 96),
    AT(cdpd_record, flags, 100),
    AT(cdpd_record, other_id, 104),
    AT(cdpd_request_info, size, 0),
    AT(cdpd_request_info, method, 8),
    AT(cdpd_request_info, path, 24),
    AT(cdpd_request_info, query, 40),
    AT(cdpd_request_info, body, 56),
    AT(cdpd_request_info, client_ip, 72),
    AT(cdpd_request_info, received_us, 88),
    AT(cdpd_http_header, name, 0),
    AT(cdpd_http_header, value, 16),
    AT(cdpd_http_request, size, 0),
    AT(cdpd_http_request, timeout_ms, 4),
    AT(cdpd_http_request, method, 8),
    AT(cdpd_http_request, url, 24),
    AT(cdpd_http_request, body, 40),
    AT(cdpd_http_request, headers, 56),
    AT(cdpd_http_request, header_count, 64),
    AT(cdpd_http_request, max_body, 72),
    AT(cdpd_http_response, size, 0),
    AT(cdpd_http_response, error, 4),
    AT(cdpd_http_response, status, 8),
    AT(cdpd_http_response, retry_after_ms, 16),
    AT(cdpd_http_response, body, 24),
    AT(cdpd_http_response, headers, 40),
    AT(cdpd_http_response, header_count, 48),
    AT(cdpd_cache_request, size, 0),
    AT(cdpd_cache_request, key, 8),
    AT(cdpd_cache_request, ttl_ms, 24),
    AT(cdpd_cache_request, negative_ttl_ms, 32),
    AT(cdpd_cache_request, stale_ms, 40),
    AT(cdpd_cache_request, fetch, 48),
    AT(cdpd_host, size, 0),
    AT(cdpd_host, abi_major, 4),
    AT(cdpd_host, abi_minor, 6),
    AT(cdpd_host, log, 8),
    AT(cdpd_host, counter, 16),
    AT(cdpd_host, histogram, 24),
    AT(cdpd_host, count, 32),
    AT(cdpd_host, observe_us, 40),
    AT(cdpd_host, conf_has, 48),
    AT(cdpd_host, conf_text, 56),
    AT(cdpd_host, conf_int, 64),
    AT(cdpd_host, conf_float, 72),
    AT(cdpd_host, conf_bool, 80),
    AT(cdpd_host, conf_count, 88),
    AT(cdpd_host, conf_item, 96),
    AT(cdpd_host, path, 104),
    AT(cdpd_host, event_get, 112),
    AT(cdpd_host, event_info, 120),
    AT(cdpd_host, event_set_text, 128),
    AT(cdpd_host, event_set_number, 136),
    AT(cdpd_host, event_set_bool, 144),
    AT(cdpd_host, event_set_json, 152),
    AT(cdpd_host, event_drop, 160),
    AT(cdpd_host, batch_count, 168),
    AT(cdpd_host, batch_record, 176),
    AT(cdpd_host, receipt_set, 184),
    AT(cdpd_host, receipt_done, 192),
    AT(cdpd_host, timer, 200),
    AT(cdpd_host, ticket_event, 208),
    AT(cdpd_host, ticket_done, 216),
    AT(cdpd_host, request_info, 224),
    AT(cdpd_host, request_header, 232),
    AT(cdpd_host, request_param, 240),
    AT(cdpd_host, out_event, 248),
    AT(cdpd_host, out_reject, 256),
    AT(cdpd_host, reply_status, 264),
    AT(cdpd_host, reply_header, 272),
    AT(cdpd_host, reply_body, 280),
    AT(cdpd_host, http, 288),
    AT(cdpd_host, cache_get, 296),
    AT(cdpd_host, cache_fill, 304),
    AT(cdpd_host, kv_get, 312),
    AT(cdpd_host, kv_put, 320),
    AT(cdpd_plugin, size, 0),
    AT(cdpd_plugin, abi_major, 4),
    AT(cdpd_plugin, abi_minor, 6),
    AT(cdpd_plugin, name, 8),
    AT(cdpd_plugin, version, 16),
    AT(cdpd_plugin, summary, 24),
    AT(cdpd_plugin, caps, 32),
    AT(cdpd_plugin, flags, 36),
    AT(cdpd_plugin, needs, 40),
    AT(cdpd_plugin, provides, 56),
    AT(cdpd_plugin, options, 72),
    AT(cdpd_plugin, create, 96),
    AT(cdpd_plugin, destroy, 104),
    AT(cdpd_plugin, decode, 112),
    AT(cdpd_plugin, enrich, 120),
    AT(cdpd_plugin, enrich_async, 128),
    AT(cdpd_plugin, feature, 136),
    AT(cdpd_plugin, export_batch, 144),
};

static const struct line frozen[] = {
    SIZE(cdpd_str, 16),   SIZE(cdpd_options, 24),     SIZE(cdpd_value, 32),
    SIZE(cdpd_paths, 16), SIZE(cdpd_http_header, 32), SIZE(cdpd_param, 32),
};

static const struct line growing[] = {
    SIZE(cdpd_option, 56),        SIZE(cdpd_event_info, 32),    SIZE(cdpd_feature_input, 72),
    SIZE(cdpd_feature_type, 48),  SIZE(cdpd_record, 104),       SIZE(cdpd_request_info, 96),
    SIZE(cdpd_http_request, 80),  SIZE(cdpd_http_response, 56), SIZE(cdpd_cache_request, 56),
    SIZE(cdpd_host, 328),         SIZE(cdpd_plugin, 152),       SIZE(cdpd_params, 16),
    SIZE(cdpd_feature_type, 128), SIZE(cdpd_record, 120),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_offsets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(offsets); i++) {
		if (offsets[i].is != offsets[i].was)
			fail_msg("%s moved from %zu to %zu", offsets[i].what, offsets[i].was, offsets[i].is);
	}
}

static void test_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(frozen); i++) {
		if (frozen[i].is != frozen[i].was)
			fail_msg("%s had %zu bytes, has %zu", frozen[i].what, frozen[i].was, frozen[i].is);
	}
	for (size_t i = 0; i < COUNT(growing); i++) {
		if (growing[i].is < growing[i].was)
			fail_msg("%s shrank from %zu to %zu", growing[i].what, growing[i].was, growing[i].is);
	}
}

static void test_numbers(void **state)
{
	(void)state;
	const int is[] = {
	    CDPD_RETRY,           CDPD_ACK,          CDPD_DROP,          CDPD_PENDING,         CDPD_OK,
	    CDPD_ERR_NOMEM,       CDPD_ERR_INVALID,  CDPD_ERR_TOO_LARGE, CDPD_ERR_NOT_FOUND,   CDPD_ERR_DENIED,
	    CDPD_ERR_BUSY,        CDPD_ERR_IO,       CDPD_ERR_TIMEOUT,   CDPD_ERR_UNSUPPORTED, CDPD_OPTION_STRING,
	    CDPD_OPTION_INT,      CDPD_OPTION_FLOAT, CDPD_OPTION_BOOL,   CDPD_OPTION_DURATION, CDPD_OPTION_SIZE,
	    CDPD_OPTION_ENUM,     CDPD_OPTION_LIST,  CDPD_OPTION_SECRET, CDPD_VALUE_NONE,      CDPD_VALUE_NUMBER,
	    CDPD_VALUE_STRING,    CDPD_VALUE_BOOL,   CDPD_VALUE_JSON,    CDPD_LOG_ERROR,       CDPD_LOG_WARN,
	    CDPD_LOG_INFO,        CDPD_LOG_DEBUG,    CDPD_CAP_SOURCE,    CDPD_CAP_ENRICH,      CDPD_CAP_ENRICH_ASYNC,
	    CDPD_CAP_FEATURE,     CDPD_CAP_EXPORT,   CDPD_ENRICH_DROP,   CDPD_RECORD_EVENT,    CDPD_FEATURE_KEYED,
	    CDPD_FEATURE_NO_TEXT, CDPD_FEATURE_TELLS};
	const int was[] = {0, 1, 2, 3, 0, -1, -2, -3, -4, -5, -6, -7, -8, -9, 1, 2,  3, 4, 5, 6, 7,
			   8, 9, 0, 1, 2, 3,  4,  0,  1,  2,  3,  1,  2,  4,  8, 16, 1, 1, 1, 2, 4};
	assert_int_equal(COUNT(is), COUNT(was));
	for (size_t i = 0; i < COUNT(is); i++) assert_int_equal(is[i], was[i]);
	assert_int_equal(sizeof(enum cdpd_verdict), 4);
}

static void test_a_missing_entry_is_told(void **state)
{
	(void)state;
	struct cdpd_host host = {.size = offsetof(struct cdpd_host, http)}; /* a host that ends before http */
	host.http =
	    (int (*)(struct cdpd_instance *, const struct cdpd_http_request *, cdpd_http_fn, void *))(uintptr_t)1;
	assert_false(CDPD_HAS(&host, http));
	host.size = sizeof host;
	assert_true(CDPD_HAS(&host, http));
	host.http = NULL;
	assert_false(CDPD_HAS(&host, http));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_offsets),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_a_missing_entry_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
