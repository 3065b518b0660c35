#include "ingest/person_ref.h"

const struct conf_namespace *person_ref_read(const struct config *config, struct str ref, struct str *value)
{
	*value = STR_NONE;
	const char *colon = memchr(ref.ptr, ':', ref.len);
	if (!colon) return NULL;
	struct str name = str_of(ref.ptr, (size_t)(colon - ref.ptr));
	*value = str_trim(str_of(colon + 1, ref.len - name.len - 1));
	if (value->len == 0 || value->len > EVENT_IDENTIFIER_MAX || memchr(value->ptr, '\0', value->len)) return NULL;
	for (size_t i = 0; i < config->namespace_count; i++)
		if (str_eq(config->namespaces[i].name, name)) return &config->namespaces[i];
	return NULL;
}

int person_ref_write_path(struct buf *text, struct str path, struct str value)
{
	size_t depth = 0;
	int rc = OK;
	for (;; depth++) {
		const char *dot = memchr(path.ptr, '.', path.len);
		size_t len = dot ? (size_t)(dot - path.ptr) : path.len;
		if (depth && rc == OK) rc = buf_putc(text, '{');
		if (rc == OK) rc = json_write_str(text, str_of(path.ptr, len));
		if (rc == OK) rc = buf_putc(text, ':');
		if (!dot || rc != OK) break;
		path = str_of(dot + 1, path.len - len - 1);
	}
	if (rc == OK) rc = json_write_str(text, value);
	while (depth-- > 0 && rc == OK) rc = buf_putc(text, '}');
	return rc;
}
