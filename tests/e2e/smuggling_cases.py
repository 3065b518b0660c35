"""Malformed HTTP/1.1 requests, each with the answer it must get; and well-formed ones that must not be refused.

CASES holds (name, request bytes, expected status or None when the request is accepted, must_close). `None` means a
status below 400; `must_close` means that the server closes the connection after that answer, whatever else was sent.
An accepted request is followed by nothing, so that exactly one answer comes back.

Paths and the write key are those of conf/quickstart.yaml.
"""

AUTH = b"Authorization: Basic ZGVtby13cml0ZS1rZXk6\r\n"
EVENT = b'{"type":"track","event":"smuggle","userId":"smuggler","messageId":"%s"}'


def body(name):
    return EVENT % name.encode()


def post(fields=b"", payload=b"", version=b"HTTP/1.1", host=b"Host: a\r\n", path=b"/v1/track"):
    return b"POST " + path + b" " + version + b"\r\n" + host + AUTH + fields + b"\r\n" + payload


def sized(name, fields=b"", path=b"/v1/track"):
    payload = body(name)
    return post(b"Content-Length: %d\r\n" % len(payload) + fields, payload, path=path)


def chunk(payload, extension=b""):
    return b"%x" % len(payload) + extension + b"\r\n" + payload + b"\r\n"


def chunked(payload, fields=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + fields, payload)


def get(fields=b"Host: a\r\n", line=b"GET /healthz HTTP/1.1\r\n"):
    return line + fields + b"\r\n"


B = body("refused")
N = b"%d" % len(B)
WHOLE = chunk(B) + b"0\r\n\r\n"
# What a smuggler hopes will be read as a second request.
SECOND = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(name, request, status=400):
    return (name, request + SECOND, status, True)


def accepted(name, request, must_close=False):
    return (name, request, None, must_close)


CASES = [
    # Line ends
    refused("bare LF after the request line", get(line=b"GET /healthz HTTP/1.1\n")),
    refused("bare LF after a field", get(b"Host: a\nX-A: b\r\n")),
    refused("bare LF ends the head", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\n"),
    refused("bare LF everywhere", b"GET /healthz HTTP/1.1\nHost: a\n\n"),
    refused("bare CR in the request line", get(line=b"GET /healthz\r HTTP/1.1\r\n")),
    refused("bare CR in a value", get(b"Host: a\r\nX-A: b\rc\r\n")),
    refused("bare CRs only", b"GET /healthz HTTP/1.1\rHost: a\r\r"),
    refused("CR CR LF", b"GET /healthz HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    refused("two leading CRLFs", b"\r\n\r\n" + get()),
    refused("leading LF", b"\n" + get()),
    # Fields
    refused("obs-fold with a space", get(b"Host: a\r\nX-A: b\r\n c\r\n")),
    refused("obs-fold with a TAB", get(b"Host: a\r\nX-A: b\r\n\tc\r\n")),
    refused("folded Content-Length", post(b"Content-Length:\r\n " + N + b"\r\n", B)),
    refused("folded Transfer-Encoding", post(b"Transfer-Encoding:\r\n chunked\r\n", WHOLE)),
    refused("space before the first field", get(b" Host: a\r\n")),
    refused("space before the colon of Host", get(b"Host : a\r\n")),
    refused("space before the colon of Content-Length", post(b"Content-Length : " + N + b"\r\n", B)),
    refused("TAB before the colon of Transfer-Encoding", post(b"Transfer-Encoding\t: chunked\r\n", WHOLE)),
    refused("field without a colon", get(b"Host: a\r\nX-A\r\n")),
    refused("empty field name", get(b"Host: a\r\n: b\r\n")),
    refused("slash in a field name", get(b"Host: a\r\nX/A: b\r\n")),
    refused("brackets in a field name", get(b"Host: a\r\nX(A): b\r\n")),
    refused("high byte in a field name", get(b"Host: a\r\nX\xff: b\r\n")),
    refused("NUL in a field name", get(b"Host: a\r\nX\x00: b\r\n")),
    refused("NUL in a value", get(b"Host: a\r\nX-A: b\x00c\r\n")),
    refused("control byte in a value", get(b"Host: a\r\nX-A: b\x01c\r\n")),
    refused("DEL in a value", get(b"Host: a\r\nX-A: b\x7fc\r\n")),
    # Content-Length
    refused("two different Content-Lengths", post(b"Content-Length: " + N + b"\r\nContent-Length: 3\r\n", B)),
    refused("two equal Content-Lengths", post(b"Content-Length: " + N + b"\r\nContent-Length: " + N + b"\r\n", B)),
    refused("Content-Length as a list", post(b"Content-Length: " + N + b", " + N + b"\r\n", B)),
    refused("Content-Length with a plus", post(b"Content-Length: +" + N + b"\r\n", B)),
    refused("Content-Length with a minus", post(b"Content-Length: -1\r\n", B)),
    refused("Content-Length in hexadecimal", post(b"Content-Length: 0x10\r\n", B)),
    refused("Content-Length with a space inside", post(b"Content-Length: 1 2\r\n", B)),
    refused("Content-Length with a fraction", post(b"Content-Length: 10.0\r\n", B)),
    refused("empty Content-Length", post(b"Content-Length: \r\n", B)),
    refused("Content-Length past 64 bits", post(b"Content-Length: 99999999999999999999999\r\n"), 413),
    refused("Content-Length past the limit", post(b"Content-Length: 10000000\r\n"), 413),
    # Transfer-Encoding
    refused("Content-Length, then chunked", post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", WHOLE)),
    refused("chunked, then Content-Length", post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", WHOLE)),
    refused("Transfer-Encoding gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", WHOLE)),
    refused("Transfer-Encoding chunked, identity", post(b"Transfer-Encoding: chunked, identity\r\n", WHOLE)),
    refused("Transfer-Encoding xchunked", post(b"Transfer-Encoding: xchunked\r\n", WHOLE)),
    refused("Transfer-Encoding quoted", post(b'Transfer-Encoding: "chunked"\r\n', WHOLE)),
    refused("Transfer-Encoding identity", post(b"Transfer-Encoding: identity\r\n")),
    refused("empty Transfer-Encoding", post(b"Transfer-Encoding: \r\n")),
    refused("two Transfer-Encodings", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", WHOLE)),
    refused("Transfer-Encoding with vertical TAB", post(b"Transfer-Encoding: \x0bchunked\r\n", WHOLE)),
    refused("Transfer-Encoding in HTTP/1.0", post(b"Transfer-Encoding: chunked\r\n", WHOLE, b"HTTP/1.0")),
    # Chunks
    refused("chunk size with a plus", chunked(b"+" + WHOLE)),
    refused("chunk size with 0x", chunked(b"0x" + WHOLE)),
    refused("chunk size behind a space", chunked(b" " + WHOLE)),
    refused("chunk size before a space", chunked(chunk(B, b" ") + b"0\r\n\r\n")),
    refused("empty chunk size", chunked(b"\r\n" + B + b"\r\n0\r\n\r\n")),
    refused("chunk size of 17 digits", chunked(b"00000000000000005\r\nhello\r\n0\r\n\r\n")),
    refused("chunk size not hexadecimal", chunked(b"zz\r\n" + B + b"\r\n0\r\n\r\n")),
    refused("chunk size of 2^64 - 1", chunked(b"ffffffffffffffff\r\n" + B), 413),
    refused("chunk size ends with LF", chunked(b"%x\n" % len(B) + B + b"\r\n0\r\n\r\n")),
    refused("no CRLF behind a chunk", chunked(b"%x\r\n" % len(B) + B + b"0\r\n\r\n")),
    refused("LF behind a chunk", chunked(b"%x\r\n" % len(B) + B + b"\n0\r\n\r\n")),
    refused("chunk longer than its size", chunked(b"4\r\n" + B + b"\r\n0\r\n\r\n")),
    refused("chunk extension of 257 bytes", chunked(chunk(B, b";" + b"x" * 257) + b"0\r\n\r\n")),
    refused("LF in a chunk extension", chunked(chunk(B, b";a\nb") + b"0\r\n\r\n")),
    refused("NUL in a chunk extension", chunked(chunk(B, b";\x00") + b"0\r\n\r\n")),
    refused("trailer with a fold", chunked(chunk(B) + b"0\r\nX-A: b\r\n c\r\n\r\n")),
    refused("trailer with a bare LF", chunked(chunk(B) + b"0\r\nX-A: b\n\r\n")),
    refused("trailers past 4 KB", chunked(chunk(B) + b"0\r\nX-A: " + b"x" * 5000 + b"\r\n\r\n"), 431),
    # Version, Host, request line
    refused("HTTP/1.9", get(line=b"GET /healthz HTTP/1.9\r\n")),
    refused("HTTP/2.0", get(line=b"GET /healthz HTTP/2.0\r\n")),
    refused("HTTP/0.9", b"GET /healthz\r\n"),
    refused("lower-case version", get(line=b"GET /healthz http/1.1\r\n")),
    refused("HTTP/1.10", get(line=b"GET /healthz HTTP/1.10\r\n")),
    refused("half of HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\n"),
    refused("nearly HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"),
    refused("PRI in HTTP/1.1", get(line=b"PRI * HTTP/1.1\r\n")),
    refused("no Host", get(b"")),
    refused("two Hosts", get(b"Host: a\r\nHost: a\r\n")),
    refused("Host with a space", get(b"Host: a b\r\n")),
    refused("Host with user info", get(b"Host: u@a\r\n")),
    refused("Host with a path", get(b"Host: a/b\r\n")),
    refused("two spaces behind the method", get(line=b"GET  /healthz HTTP/1.1\r\n")),
    refused("two spaces before the version", get(line=b"GET /healthz  HTTP/1.1\r\n")),
    refused("space behind the version", get(line=b"GET /healthz HTTP/1.1 \r\n")),
    refused("space in the path", get(line=b"GET /healthz x HTTP/1.1\r\n")),
    refused("TABs in the request line", get(line=b"GET\t/healthz\tHTTP/1.1\r\n")),
    refused("leading space", b" " + get()),
    refused("method that is no token", get(line=b"GE@T /healthz HTTP/1.1\r\n")),
    refused("target without a slash", get(line=b"GET healthz HTTP/1.1\r\n")),
    refused("target * for GET", get(line=b"GET * HTTP/1.1\r\n")),
    refused("CONNECT", get(line=b"CONNECT a:80 HTTP/1.1\r\n")),
    refused("absolute target with user info", get(line=b"GET http://u@a/healthz HTTP/1.1\r\n")),
    refused("fragment in the target", get(line=b"GET /healthz#x HTTP/1.1\r\n")),
    refused("NUL in the path", get(line=b"GET /health\x00z HTTP/1.1\r\n")),
    refused("escaped NUL in the path", get(line=b"GET /health%00z HTTP/1.1\r\n")),
    refused("broken escape in the path", get(line=b"GET /health%zz HTTP/1.1\r\n")),
    refused("high byte in the path", get(line=b"GET /health\xe9 HTTP/1.1\r\n")),
    refused("TLS hello on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    # Caps
    refused("request line past 8 KB", get(line=b"GET /" + b"x" * 8200 + b" HTTP/1.1\r\n"), 414),
    refused("header block past 16 KB", get(b"Host: a\r\nX-A: " + b"x" * 17000 + b"\r\n"), 431),
    refused("65 fields", get(b"Host: a\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(64))), 431),
    refused("unknown expectation", sized("expect", b"Expect: tea\r\n"), 417),
    # Well-formed
    accepted("plain", sized("plain")),
    accepted("one leading CRLF", b"\r\n" + sized("crlf")),
    accepted("trailing slash", sized("slash", path=b"/v1/track/")),
    accepted("absolute target", sized("absolute", path=b"http://a:8080/v1/track")),
    accepted("chunked in one piece", chunked(chunk(body("one")) + b"0\r\n\r\n")),
    accepted("chunked byte by byte", chunked(b"".join(chunk(bytes([c])) for c in body("bytes")) + b"0\r\n\r\n")),
    accepted("chunk extensions and trailers", chunked(chunk(body("ext"), b';a="b"') + b"0;c\r\nX-A: b\r\n\r\n")),
    accepted("mixed-case chunked", post(b"tRANSFER-eNCODING: ChUnKeD\r\n", chunk(body("case")) + b"0\r\n\r\n")),
    accepted("64 fields", get(b"Host: a\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(63)))),
    accepted("blanks around a value", get(b"Host:\t a \t\r\n")),
    accepted("high bytes in a value", get(b"Host: a\r\nX-A: \xc3\xa9\r\n")),
    accepted("HTTP/1.0 without Host", get(b"", b"GET /healthz HTTP/1.0\r\n"), must_close=True),
    accepted("Connection: close", get(b"Host: a\r\nConnection: close\r\n"), must_close=True),
]
