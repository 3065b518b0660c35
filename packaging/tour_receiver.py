"""Receives webhooks on 127.0.0.1 and keeps those whose signature holds: usage: tour_receiver.py PORT SECRET-FILE OUT-FILE

The signature is that of Standard Webhooks: HMAC-SHA256 over "id.timestamp.body" with the key behind `whsec_`, in base64. A receiver of your own does
what `is_genuine` does, and throws away what has an id that it has seen.
"""

import base64
import hashlib
import hmac
import http.server
import pathlib
import sys
import time

TOLERANCE_S = 300  # older requests may be replayed ones


def is_genuine(headers, body, secret, now):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    ours = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    is_fresh = abs(now - int(headers["webhook-timestamp"])) <= TOLERANCE_S
    return is_fresh and any(hmac.compare_digest(ours, theirs) for theirs in headers["webhook-signature"].split())


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.reply(204)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            genuine = is_genuine(self.headers, body, self.server.secret, time.time())
        except (KeyError, TypeError, ValueError, AttributeError):
            genuine = False  # no signature, or not one
        if genuine and self.headers["webhook-id"] not in self.server.seen:
            self.server.out.write(body + b"\n")
            self.server.out.flush()
            self.server.seen.add(self.headers["webhook-id"])  # not before it is kept: it would be thrown away when it comes again
        self.reply(204 if genuine else 401)

    def log_message(self, *_):
        pass


port, secret_file, out_file = sys.argv[1:]
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver)
server.secret = pathlib.Path(secret_file).read_text().strip()
server.seen = set()
server.out = open(out_file, "ab")
server.serve_forever()
