#include "base/base_test.h"
#include "base/crc32c.h"
#include "base/encode.h"
#include "base/hash.h"
#include "base/secret.h"

static struct hash_key counting_key(void)
{
	struct hash_key key;
	for (uint8_t i = 0; i < HASH_KEY_SIZE; i++) key.bytes[i] = i;
	return key;
}

/* The vectors of the SipHash paper's appendix and reference code. */
static void siphash_vectors(void **state)
{
	struct hash_key key = counting_key();
	struct hash128 wide;
	uint8_t data[15];
	char hex[33];
	(void)state;
	for (uint8_t i = 0; i < sizeof data; i++) data[i] = i;
	uint64_t hash = hash64(&key, data, sizeof data);
	assert_true(hash == UINT64_C(0xa129ca6149be45e5));
	hash128(&key, "", 0, &wide);
	hex_encode(wide.bytes, sizeof wide.bytes, hex);
	assert_string_equal(hex, "a3817f04ba25a8e66df67214c7550293");
	key.bytes[0] ^= 1;
	assert_true(hash64(&key, data, sizeof data) != hash);
}

static void crc32c_vectors(void **state)
{
	uint8_t bytes[32];
	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof bytes; i++) bytes[i] = i;
	assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x46dd794e);
}

static void crc32c_pieces_equal_the_whole(void **state)
{
	static uint8_t data[5000];
	(void)state;
	random_bytes(data, sizeof data);
	uint32_t whole = crc32c(0, data, sizeof data);
	for (size_t cut = 0; cut < sizeof data; cut += 97)
		assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, sizeof data - cut), whole);
	data[1234] ^= 0x10;
	assert_int_not_equal(crc32c(0, data, sizeof data), whole);
}

static void random_bytes_differ(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};
	(void)state;
	random_bytes(a, sizeof a);
	random_bytes(b, sizeof b);
	assert_memory_not_equal(a, b, sizeof a);
}

static void sha256_and_comparison(void **state)
{
	uint8_t digest[SHA256_SIZE], other[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	(void)state;
	assert_ok(sha256(STR("abc"), digest));
	hex_encode(digest, sizeof digest, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_ok(sha256(STR("abc"), other));
	assert_true(secret_eq(digest, other, sizeof digest));
	other[31] ^= 1;
	assert_false(secret_eq(digest, other, sizeof digest));
	secret_wipe(digest, sizeof digest);
	for (size_t i = 0; i < sizeof digest; i++) assert_int_equal(digest[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(siphash_vectors),
	    cmocka_unit_test(crc32c_vectors),
	    cmocka_unit_test(crc32c_pieces_equal_the_whole),
	    cmocka_unit_test(random_bytes_differ),
	    cmocka_unit_test(sha256_and_comparison),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
