#include "net/proxy.h"

bool proxies_trust(const struct proxies *proxies, const struct ip *ip)
{
	for (size_t i = 0; i < proxies->count; i++)
		if (ip_net_has(&proxies->nets[i], ip)) return true;
	return false;
}

/* Cuts the part after the last comma off. */
static struct str last_element(struct str *list)
{
	const char *comma = memrchr(list->ptr, ',', list->len);
	size_t start = comma ? (size_t)(comma - list->ptr) + 1 : 0;
	struct str element = {list->ptr + start, list->len - start};
	list->len = comma ? start - 1 : 0;
	return str_trim(element);
}

bool proxies_walk(const struct proxies *proxies, struct str forwarded, struct ip *hop)
{
	while (forwarded.len > 0) {
		struct ip said;
		if (ip_parse(last_element(&forwarded), &said) != OK) return false;
		*hop = said;
		if (!proxies_trust(proxies, hop)) return false;
	}
	return true;
}
