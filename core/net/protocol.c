#include "net/protocol.h"

#include "net/http1.h"

/* HTTP/2 takes its place here: by "h2" from ALPN, or by the 24 bytes of its preface (then NULL until they are all there
 * or differ). Until then such a preface goes to HTTP/1.1, which refuses it. */
const struct protocol *protocol_choose(const struct conn *conn)
{
	(void)conn;
	return &http1_protocol;
}
