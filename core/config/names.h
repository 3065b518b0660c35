/* names: what the texts of a configuration must look like. Each returns what the text must be, "must be …", or NULL when it is. */
#pragma once

#include "base/str.h"

const char *name_check_id(struct str text);
const char *name_check_word(struct str text);
const char *name_check_write_key(struct str text);
const char *name_check_origin(struct str text);
const char *name_check_country(struct str text);
const char *name_check_event(struct str text);
const char *name_check_kept_event(struct str text); /* as above, and not empty */
const char *name_check_field(struct str text);
const char *name_check_listener(struct str text);
const char *name_check_network(struct str text);
const char *name_check_url(struct str text);
const char *name_check_sender(struct str text); /* an e-mail address */
const char *name_check_tls_version(struct str text);
