"""Clients that ask for much and read nothing: what they are owed does not pile up."""

import contextlib
import socket

from cdpd import ADMIN_TOKEN, SERVER_KEY, running

CLIENTS = 60
GET = f"GET /v1/profiles/user_id:u/events?limit=500 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode()


def open_lazy(daemon, stack):
    lazy = stack.enter_context(socket.socket())
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lazy.settimeout(60)
    lazy.connect(daemon.address())
    lazy.sendall(GET)
    return lazy


def test_large_answers_nobody_reads_are_bounded_together():
    with running(extra="limits: {{reply_bytes: 16MiB}}\n") as daemon, contextlib.ExitStack() as stack:
        for part in range(10):
            batch = [{"type": "track", "userId": "u", "event": "Big", "messageId": f"m{part}-{k}", "properties": {"text": "x" * 8000}} for k in range(50)]
            position = daemon.post("/v1/batch", {"batch": batch}, key=SERVER_KEY).headers["x-cdpd-position"]
        daemon.profile("user_id:u", position)
        page = daemon.get("/v1/profiles/user_id:u/events?limit=500")
        assert page.status == 200 and len(page.body) > 4_000_000
        before = daemon.memory()
        lazy = [open_lazy(daemon, stack) for _ in range(CLIENTS)]
        statuses = [int(one.recv(12, socket.MSG_WAITALL).split()[1]) for one in lazy]
        assert set(statuses) == {200, 429}, statuses
        assert daemon.memory() - before < 100_000_000, "60 answers of 4 MB"
        # Who reads little is served as ever, and so is everyone once the others have left.
        assert daemon.profile("user_id:u").status == 200
        assert daemon.post("/v1/track", {"userId": "u", "event": "Small"}).status == 200
        refused = daemon.get("/v1/profiles/user_id:u/events?limit=500")
        assert refused.status == 429 and refused.json["code"] == "overloaded" and refused.headers["retry-after"] == "1"
        for one in lazy:
            one.close()
        for _ in range(1000):
            if daemon.get("/v1/profiles/user_id:u/events?limit=500").status == 200:
                return
        raise AssertionError("the room was not given back")
