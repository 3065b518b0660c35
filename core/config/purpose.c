#include "config/schema.h"

const char *const lawful_basis_names[] = {
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", NULL};
_Static_assert(COUNT_OF(lawful_basis_names) == BASIS_COUNT + 1, "lawful_basis_names[] is in the enum's order");

const char *lawful_basis_name(enum lawful_basis basis)
{
	return (unsigned)basis < BASIS_COUNT ? lawful_basis_names[basis] : "unknown";
}

bool lawful_basis_from_name(struct str name, enum lawful_basis *out)
{
	for (size_t i = 0; i < BASIS_COUNT; i++) {
		if (!str_eq(name, str_from(lawful_basis_names[i]))) continue;
		*out = (enum lawful_basis)i;
		return true;
	}
	return false;
}

const struct conf_purpose *config_purpose(const struct config *config, struct str name)
{
	for (size_t i = 0; i < config->purpose_count; i++)
		if (str_eq(config->purposes[i].name, name)) return &config->purposes[i];
	return NULL;
}
