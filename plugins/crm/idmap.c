#include <stdio.h>
#include <string.h>

#include "crm.h"

#define KEY_MAX      255
#define TELL_FULL_MS 3600000

static struct cdpd_str str(const char *text)
{
	return (struct cdpd_str){text, strlen(text)};
}

static void get(struct crm *self, const char *key, char id[ID_MAX + 1])
{
	size_t len = 0;
	id[0] = '\0';
	int rc = self->host->kv_get(self->instance, str(key), id, ID_MAX, &len);
	id[rc == CDPD_OK && len <= ID_MAX ? len : 0] = '\0';
}

/* A map that is full only costs a search: what is written is written. */
static void put(struct crm *self, const char *key, const char *id)
{
	int rc = self->host->kv_put(self->instance, str(key), str(id), 0);
	if (rc == CDPD_OK) return;
	self->host->count(self->instance, self->counter[UNMAPPED], 1);
	if (self->told_full_ms && now_ms() - self->told_full_ms < TELL_FULL_MS) return;
	self->told_full_ms = now_ms();
	self->host->log(
	    self->instance, CDPD_LOG_WARN,
	    "the map from profiles to contacts takes no more (%d): contacts are searched for again each time", rc);
}

/* c/PROFILE: its contact. f/PROFILE: its former one. l/PROFILE/KEY: its lead. false: nothing is kept for nobody. */
static bool name_key(char key[KEY_MAX + 1], char kind, const char *profile, const char *rest)
{
	snprintf(key, KEY_MAX + 1, "%c/%s%s%s", kind, profile, kind == 'l' ? "/" : "", rest);
	return profile[0] != '\0';
}

static void look_up(struct crm *self, char kind, const char *profile, const char *rest, char id[ID_MAX + 1])
{
	char key[KEY_MAX + 1];
	id[0] = '\0';
	if (name_key(key, kind, profile, rest)) get(self, key, id);
}

static void change(struct crm *self, char kind, const char *profile, const char *rest, const char *id)
{
	char key[KEY_MAX + 1], before[ID_MAX + 1];
	if (!name_key(key, kind, profile, rest)) return;
	get(self, key, before);
	if (strcmp(before, id) != 0) put(self, key, id); /* a write is an fsync */
}

void idmap_get(struct crm *self, const char *profile, char id[ID_MAX + 1])
{
	look_up(self, 'c', profile, "", id);
}

void idmap_put(struct crm *self, const char *profile, const char *id)
{
	change(self, 'c', profile, "", id);
}

void idmap_get_former(struct crm *self, const char *profile, char id[ID_MAX + 1])
{
	look_up(self, 'f', profile, "", id);
}

void idmap_put_former(struct crm *self, const char *profile, const char *id)
{
	change(self, 'f', profile, "", id);
}

void idmap_get_lead(struct crm *self, const char *profile, const char *lead_key, char id[ID_MAX + 1])
{
	look_up(self, 'l', profile, lead_key, id);
}

void idmap_put_lead(struct crm *self, const char *profile, const char *lead_key, const char *id)
{
	change(self, 'l', profile, lead_key, id);
}
