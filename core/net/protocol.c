#include "net/protocol.h"

#include "net/http1.h"
#include "net/http2.h"
#include "net/tls.h"

/* Over TLS, ALPN alone decides. In the clear it is who begins with the preface of HTTP/2; whatever only resembles it goes to HTTP/1.1,
 * which refuses it. */
const struct protocol *protocol_choose(const struct conn *conn)
{
	if (conn->tls) {
		bool is_http2 = str_eq(tls_protocol(conn->tls), str_from(http2_protocol.name));
		return is_http2 ? &http2_protocol : &http1_protocol;
	}
	size_t len = conn->in.len < HTTP2_PREFACE_LEN ? conn->in.len : HTTP2_PREFACE_LEN;
	if (memcmp(buf_ptr(&conn->in), HTTP2_PREFACE, len) != 0) return &http1_protocol;
	return len == HTTP2_PREFACE_LEN ? &http2_protocol : NULL;
}
