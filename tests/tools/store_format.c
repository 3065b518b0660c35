/* store_format ENV_DIRECTORY DELTA: adds DELTA to the format number kept in an LMDB environment of cdpd (see core/store/env.c), as
 * a later version would have left it. For the tests that such a store is refused. */
#include <endian.h>
#include <lmdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int rc, const char *what)
{
	if (!rc) return;
	(void)fprintf(stderr, "store_format: %s: %s\n", what, mdb_strerror(rc));
	exit(1);
}

int main(int argc, char **argv)
{
	if (argc != 3) return 2;
	char name[] = "cdpd-format";
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = {sizeof name - 1, name}, value;
	check(mdb_env_create(&env), "create");
	check(mdb_env_set_maxdbs(env, 16), "maxdbs");
	check(mdb_env_open(env, argv[1], 0, 0600), "open");
	check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, 0, &dbi), "database");
	check(mdb_get(txn, dbi, &key, &value), "no format number");
	uint32_t format;
	if (value.mv_size != sizeof format) return 1;
	memcpy(&format, value.mv_data, sizeof format);
	format = htole32(le32toh(format) + (uint32_t)strtol(argv[2], NULL, 10));
	value.mv_data = &format;
	check(mdb_put(txn, dbi, &key, &value, 0), "put");
	check(mdb_txn_commit(txn), "commit");
	mdb_env_close(env);
	return 0;
}
