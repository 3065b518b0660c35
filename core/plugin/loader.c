#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin/internal.h"

/* Everything ever loaded: nothing is unloaded before exit, because a thread, a ticket or a feature state of it may live. */
static struct plugin *loaded;
static pthread_mutex_t loaded_lock = PTHREAD_MUTEX_INITIALIZER;

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#define OWN_MACHINE EM_NONE /* not checked here; dlopen does */
#endif

const struct cdpd_plugin *plugin_info(const struct plugin *plugin)
{
	return plugin->table;
}

/* The system's loader maps what the headers say and dies of SIGBUS when the file is shorter. */
static bool is_whole(int fd, const Elf64_Ehdr *header, uint64_t file_size)
{
	Elf64_Phdr segments[64];
	size_t count = header->e_phnum, len = count * sizeof segments[0];
	if (count == 0 || count > COUNT_OF(segments) || header->e_phentsize != sizeof segments[0]) return false;
	if (header->e_phoff > INT64_MAX || pread(fd, segments, len, (off_t)header->e_phoff) != (ssize_t)len)
		return false;
	if (header->e_shoff > file_size ||
	    (uint64_t)header->e_shnum * header->e_shentsize > file_size - header->e_shoff)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (segments[i].p_offset > file_size || segments[i].p_filesz > file_size - segments[i].p_offset)
			return false;
	}
	return true;
}

static int check_elf(struct arena *arena, int fd, uint64_t file_size, struct str *error)
{
	Elf64_Ehdr header;
	ssize_t n = pread(fd, &header, sizeof header, 0);
	if (n != (ssize_t)sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
		return plugin_refuse(arena, error, "it is not an ELF file");
	}
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_type != ET_DYN ||
	    (OWN_MACHINE != EM_NONE && header.e_machine != OWN_MACHINE)) {
		return plugin_refuse(arena, error, "it is not a shared object for this machine");
	}
	if (!is_whole(fd, &header, file_size)) return plugin_refuse(arena, error, "it is cut short or damaged");
	return OK;
}

static int check_mode(struct arena *arena, const struct stat *st, const char *what, mode_t refused, struct str *error)
{
	if (!(st->st_mode & refused)) return OK;
	return plugin_refuse(arena, error, "%s is writable by %s (mode %04o): anyone there could run code in cdpd",
			     what, st->st_mode & S_IWOTH ? "everybody" : "its group", (unsigned)(st->st_mode & 07777));
}

/* The folder counts too: whoever may write there may swap the file between our look and dlopen. */
static int check_folder(struct arena *arena, const char *folder, struct str *error)
{
	struct stat st;
	if (stat(folder, &st) || !S_ISDIR(st.st_mode)) return plugin_refuse(arena, error, "its folder cannot be read");
	return check_mode(arena, &st, "its folder", S_IWOTH, error);
}

static int check_file(struct arena *arena, const char *path, struct str *error)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return plugin_refuse(arena, error, "it cannot be opened (%s)",
				     errno == ENOENT ? "no such file" : "no permission");
	int rc = OK;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) rc = plugin_refuse(arena, error, "it is not a regular file");
	if (rc == OK) rc = check_mode(arena, &st, "it", S_IWGRP | S_IWOTH, error);
	if (rc == OK) rc = check_elf(arena, fd, (uint64_t)st.st_size, error);
	close(fd);
	return rc;
}

/* The file itself, links followed; a link may not lead out of the folder. */
static int resolve(struct arena *arena, struct str folder, struct str name, char path[PATH_MAX], struct str *error)
{
	char real_folder[PATH_MAX];
	struct str given;
	if (arena_printf(arena, &given, "%.*s", STR_ARG(folder.len ? folder : STR(".")))) return ERR_NOMEM;
	if (!realpath(given.ptr, real_folder)) return plugin_refuse(arena, error, "its folder cannot be read");
	int rc = check_folder(arena, real_folder, error);
	if (rc) return rc;
	if (arena_printf(arena, &given, "%s/%.*s.so", real_folder, STR_ARG(name))) return ERR_NOMEM;
	if (!realpath(given.ptr, path)) return plugin_refuse(arena, error, "there is no such file");
	size_t len = strlen(real_folder);
	bool is_inside = strncmp(path, real_folder, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
	if (!is_inside) return plugin_refuse(arena, error, "it is a symbolic link out of its folder");
	return OK;
}

static int open_plugin(struct arena *arena, const char *path, struct str name, struct plugin **out, struct str *error)
{
	int rc = check_file(arena, path, error);
	if (rc) return rc;
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) return plugin_refuse(arena, error, "the system's loader refuses it: %s", dlerror());
	const struct cdpd_plugin *table = dlsym(handle, "cdpd_plugin");
	if (!table) return plugin_refuse(arena, error, "it does not export the symbol cdpd_plugin");
	if ((rc = plugin_table_check(arena, table, name, error))) return rc;
	struct plugin *plugin = calloc(1, sizeof *plugin);
	if (!plugin || !(plugin->path = strdup(path))) {
		free(plugin);
		return ERR_NOMEM;
	}
	plugin->table = table;
	*out = plugin;
	return OK;
}

static struct plugin *find_loaded(const char *path)
{
	for (struct plugin *p = loaded; p; p = p->next) {
		if (strcmp(p->path, path) == 0) return p;
	}
	return NULL;
}

int plugin_load(struct arena *arena, struct str folder, struct str name, const struct plugin **out, struct str *error)
{
	char path[PATH_MAX];
	struct plugin *plugin = NULL;
	struct str why = STR("out of memory");
	int rc = OK;
	*out = NULL;
	if (!plugin_is_name(name, "_-")) {
		rc = plugin_refuse(arena, &why, "a plugin's name is [a-z][a-z0-9_-]*, at most %d bytes",
				   PLUGIN_NAME_MAX);
	}
	if (rc == OK) rc = resolve(arena, folder, name, path, &why);
	if (rc == OK) {
		pthread_mutex_lock(&loaded_lock);
		plugin = find_loaded(path);
		if (!plugin && (rc = open_plugin(arena, path, name, &plugin, &why)) == OK) {
			CHECK(plugin);
			plugin->next = loaded;
			loaded = plugin;
		}
		pthread_mutex_unlock(&loaded_lock);
	}
	if (rc == OK) {
		*out = plugin;
		return OK;
	}
	struct str shown = name.len > 80 ? str_of(name.ptr, 80) : name;
	if (arena_printf(arena, error, "plugin %.*s/%.*s.so is refused: %.*s", STR_ARG(folder), STR_ARG(shown),
			 STR_ARG(why))) {
		*error = STR("a plugin is refused (no memory for the reason)");
	}
	return rc;
}
