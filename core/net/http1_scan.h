/* http1_scan: which bytes may stand where in an HTTP/1 message. */
#pragma once

#include "base/str.h"

bool http1_is_token(struct str text); /* non-empty, tchar only (RFC 9110 section 5.6.2) */
bool http1_is_token_char(char c);
bool http1_is_host(struct str text);        /* uri-host [":" port], or empty */
bool http1_is_field_value(struct str text); /* no control byte but TAB */
/* "/a/b%20c": printable, whole escapes, none of them NUL. */
bool http1_is_path(struct str text);
bool http1_is_query(struct str text); /* printable, without '#' */
/* Offset of the first control byte other than TAB (DEL included) at or after `from`; `len` when none. */
size_t http1_find_control(const char *data, size_t from, size_t len);
