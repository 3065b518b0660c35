#include "net/http1_scan.h"

enum { TOKEN = 1, HOST = 2, URI = 4, HEX = 8 };

#define T   TOKEN
#define H   HOST
#define U   URI
#define X   HEX
#define ALL (T | H | U)
/* clang-format off */
static const uint8_t classes[256] = {
	['!'] = ALL, ['"'] = U, ['$'] = ALL, ['%'] = ALL, ['&'] = ALL, ['\''] = ALL, ['('] = H | U, [')'] = H | U,
	['*'] = ALL, ['+'] = ALL, [','] = H | U, ['-'] = ALL, ['.'] = ALL, ['/'] = U, ['#'] = T,
	['0'] = ALL | X, ['1'] = ALL | X, ['2'] = ALL | X, ['3'] = ALL | X, ['4'] = ALL | X,
	['5'] = ALL | X, ['6'] = ALL | X, ['7'] = ALL | X, ['8'] = ALL | X, ['9'] = ALL | X,
	[':'] = H | U, [';'] = H | U, ['<'] = U, ['='] = H | U, ['>'] = U, ['?'] = U, ['@'] = U,
	['A'] = ALL | X, ['B'] = ALL | X, ['C'] = ALL | X, ['D'] = ALL | X, ['E'] = ALL | X, ['F'] = ALL | X,
	['G'] = ALL, ['H'] = ALL, ['I'] = ALL, ['J'] = ALL, ['K'] = ALL, ['L'] = ALL, ['M'] = ALL, ['N'] = ALL,
	['O'] = ALL, ['P'] = ALL, ['Q'] = ALL, ['R'] = ALL, ['S'] = ALL, ['T'] = ALL, ['U'] = ALL, ['V'] = ALL,
	['W'] = ALL, ['X'] = ALL, ['Y'] = ALL, ['Z'] = ALL, ['['] = H | U, ['\\'] = U, [']'] = H | U, ['^'] = T | U,
	['_'] = ALL, ['`'] = T | U,
	['a'] = ALL | X, ['b'] = ALL | X, ['c'] = ALL | X, ['d'] = ALL | X, ['e'] = ALL | X, ['f'] = ALL | X,
	['g'] = ALL, ['h'] = ALL, ['i'] = ALL, ['j'] = ALL, ['k'] = ALL, ['l'] = ALL, ['m'] = ALL, ['n'] = ALL,
	['o'] = ALL, ['p'] = ALL, ['q'] = ALL, ['r'] = ALL, ['s'] = ALL, ['t'] = ALL, ['u'] = ALL, ['v'] = ALL,
	['w'] = ALL, ['x'] = ALL, ['y'] = ALL, ['z'] = ALL, ['{'] = U, ['|'] = T | U, ['}'] = U, ['~'] = ALL,
};
/* clang-format on */

static bool all_of(struct str text, uint8_t class)
{
	for (size_t i = 0; i < text.len; i++)
		if (!(classes[(uint8_t)text.ptr[i]] & class)) return false;
	return true;
}

bool http1_is_token_char(char c)
{
	return classes[(uint8_t)c] & TOKEN;
}

bool http1_is_token(struct str text)
{
	return text.len > 0 && all_of(text, TOKEN);
}

bool http1_is_host(struct str text)
{
	return all_of(text, HOST);
}

bool http1_is_query(struct str text)
{
	return all_of(text, URI);
}

bool http1_is_path(struct str text)
{
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t *p = (const uint8_t *)text.ptr + i;
		if (!(classes[*p] & URI)) return false;
		if (*p != '%') continue;
		if (text.len - i < 3 || !(classes[p[1]] & HEX) || !(classes[p[2]] & HEX)) return false;
		if (p[1] == '0' && p[2] == '0') return false;
	}
	return true;
}

bool http1_is_field_value(struct str text)
{
	return http1_find_control(text.ptr, 0, text.len) == text.len;
}

/* Eight bytes at a time: the high bit of each byte that is below 0x20 or 0x7f. A borrow can mark a byte above a true hit
 * too, so the mask only says that a hit is near. TABs end a step as well; they are rare. */
static bool has_control(uint64_t v)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
	uint64_t del = v ^ (ones * 0x7f);
	return (((v - ones * 0x20) & ~v) | ((del - ones) & ~del)) & high;
}

size_t http1_find_control(const char *data, size_t from, size_t len)
{
	size_t i = from;
	for (;;) {
		uint64_t eight;
		while (len - i >= sizeof eight) {
			memcpy(&eight, data + i, sizeof eight);
			if (has_control(eight)) break;
			i += sizeof eight;
		}
		size_t stop = len - i < sizeof eight ? len : i + sizeof eight;
		for (; i < stop; i++) {
			uint8_t c = (uint8_t)data[i];
			if ((c < 0x20 && c != '\t') || c == 0x7f) return i;
		}
		if (i == len) return len;
	}
}
