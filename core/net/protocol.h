/* protocol: which protocol a connection speaks, told by ALPN or by its first bytes. */
#pragma once

#include "net/conn.h"

/* Called with at least one byte in conn->in. NULL: more bytes are needed to tell; the connection's deadline for a head goes on. */
const struct protocol *protocol_choose(const struct conn *conn);
