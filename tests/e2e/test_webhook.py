"""The webhook destination against a loopback endpoint that misbehaves in every way: nothing is lost, nothing goes where it must not."""

import base64
import hashlib
import hmac
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest

import certificates
from cdpd import CONFIG, ROOT
from ledger import Ledger
from sink import Hang, Reset, Sink

LOOPBACK = {"allow": ["127.0.0.0/8"]}
SECRETS = ["whsec_" + base64.b64encode(bytes(range(24))).decode(), "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()]


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.stop()


def configure(daemon, url, http=LOOPBACK, more=None, **options):
    row = {"name": "hook", "plugin": "webhook", "options": {"url": url, **options}, "http": http, **(more or {})}
    text = json.dumps([row]).replace("{", "{{").replace("}", "}}")
    daemon.write_config(CONFIG + f"destinations: {text}\n")
    return daemon


def secret(daemon, name, text):
    path = daemon.folder / name
    path.write_text(text)
    path.chmod(0o600)
    return f"file:{path}"


def state(daemon):
    return next(d for d in daemon.get("/v1/admin/destinations").json["destinations"] if d["name"] == "hook")


def until(ask, daemon, timeout=120):
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"{state(daemon)}\n{daemon.log_text()[-4000:]}"
        time.sleep(0.05)
    return answer


def until_caught_up(daemon):
    daemon.settled()
    until(lambda: state(daemon)["lag"] == 0 and state(daemon).get("parked", 0) == 0, daemon)


def until_failing(daemon, *words):
    until(lambda: state(daemon)["failing"] and all(word in state(daemon)["lastError"] for word in words), daemon)
    return state(daemon)["lastError"]


def post_batch(daemon, ids, user="u1", **fields):
    batch = [{"type": "track", "userId": user, "event": "A", "messageId": id_, **fields} for id_ in ids]
    answer = daemon.post("/v1/batch", {"batch": batch})
    assert answer.status == 200, answer


def verify(request, key):
    """Standard Webhooks, written from its specification."""
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = "v1," + base64.b64encode(hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()).decode()
    return expected in request.headers["webhook-signature"].split(" ")


# ── what arrives ─────────────────────────────────────────────────────────────


def test_one_by_one_signed_by_every_key(stopped, sink):
    configure(stopped, sink.url, signing_secret=secret(stopped, "keys", "\n".join(SECRETS) + "\n")).start()
    for n in range(20):
        stopped.track("u1", "A", f"m{n:02}", properties={"text": "ü \"\\ \u0007"})
    until_caught_up(stopped)
    assert sink.ids() == [f"m{n:02}" for n in range(20)]
    assert len({request.headers["webhook-id"] for request in sink.requests}) == 20
    for request in sink.requests:
        assert len(request.headers["webhook-signature"].split(" ")) == 2
        assert all(verify(request, key) for key in SECRETS)
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 3600
        assert request.headers["content-type"] == "application/json" and request.json["type"] == "track"
        assert "expect" not in request.headers


CLIENTS = ROOT / "tests" / "clients"


@pytest.mark.skipif(not (CLIENTS / "node_modules" / "standardwebhooks").exists() or not shutil.which("node"), reason="npm packages are not installed: tests/run.sh does it")
def test_the_library_of_standard_webhooks_takes_it(stopped, sink, tmp_path):
    configure(stopped, sink.url, mode="batch", signing_secret=secret(stopped, "keys", SECRETS[0])).start()
    post_batch(stopped, [f"m{n}" for n in range(5)])
    until_caught_up(stopped)
    stored = [{"headers": request.headers, "body": request.body.decode()} for request in sink.requests]
    file = tmp_path / "requests.json"
    file.write_text(json.dumps(stored))
    run = subprocess.run(["node", str(CLIENTS / "standard-webhooks.mjs"), str(file), SECRETS[0]], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"verified": len(stored), "forged": 0}


@pytest.mark.parametrize("format_", ["json_array", "ndjson", "json_object"])
def test_batches_compressed(stopped, sink, format_):
    configure(stopped, sink.url, mode="batch", format=format_, max_records=7, gzip="1B", signing_secret=secret(stopped, "keys", SECRETS[0])).start()
    ids = [f"m{n:02}" for n in range(40)]
    post_batch(stopped, ids)
    until_caught_up(stopped)
    assert sink.ids() == ids
    for request in sink.requests:
        assert request.headers["content-encoding"] == "gzip" and len(request.raw) < len(request.body)
        assert verify(request, SECRETS[0]) and len(request.records) <= 7
    if format_ == "json_object":
        items = [item for request in sink.requests for item in request.json["records"]]
        assert len({item["deliveryId"] for item in items}) == 40
        assert all(re.fullmatch("[0-9a-f]{32}", item["profileId"]) for item in items)
        assert all(request.json["id"] == request.headers["webhook-id"] for request in sink.requests)


@pytest.mark.parametrize("more", [{}, {"concurrency": 4, "batch": {"records": 20}}], ids=["one_batch", "four_batches"])
@pytest.mark.parametrize("mode", ["single", "batch"])
def test_requests_beside_each_other_keep_each_persons_order(stopped, sink, mode, more):
    busy, overtaken = {}, []

    def answer(request):
        users = {record["userId"] for record in request.records}
        with sink.lock:
            overtaken.extend(user for user in users if busy.get(user))
            for user in users:
                busy[user] = True
        time.sleep(0.003)
        with sink.lock:
            for user in users:
                busy[user] = False
        return (200, b"ok")

    sink.answer = answer
    configure(stopped, sink.url, mode=mode, max_records=3, concurrency=8, http={**LOOPBACK, "connections": 40}, more=more).start()
    users = [f"u{n}" for n in range(9)]
    for start in range(0, 60, 20):
        stopped.post("/v1/batch", {"batch": [{"type": "track", "userId": user, "event": "A", "messageId": f"{user}-{n:03}"} for n in range(start, start + 20) for user in users]})
    until_caught_up(stopped)
    assert not overtaken
    for user in users:
        mine = [record["messageId"] for record in sink.records() if record["userId"] == user]
        assert mine == [f"{user}-{n:03}" for n in range(60)]


def test_an_erasure_is_told(stopped, sink):
    configure(stopped, sink.url, mode="batch", more={"where": {"field": "event", "is": "Nothing"}}).start()
    stopped.track("u1", "A", "m1")
    stopped.settled()
    stopped.ctl("erase", "user_id:u1", "--wait")
    until_caught_up(stopped)
    notices = [record for record in sink.records() if record["type"] == "erased"]
    assert len(notices) == 1 and notices[0]["profileIds"] and sink.ids() == [notices[0]["messageId"]]


# ── what goes wrong ──────────────────────────────────────────────────────────

FAULTS = {
    "500": (500, b"oops"),
    "502": (502, b"bad gateway"),
    "408": (408, b""),
    "425": (425, b""),
    "503": (503, b"", {"Retry-After": "1"}),
    "429 with seconds": (429, b"slow down", {"Retry-After": "1"}),
    "429 with a date": (429, b"slow down", {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    "429 without": (429, b"slow down"),
    "taken, then reset before the status": Reset(),
    "reset in the middle of the status": Reset(after=10),
    "reset in the middle of the body": Reset(after=40),
    "no answer": Hang(),
    "redirect": (302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
    "permanent redirect": (308, b"", {"Location": "/other"}),
    "401": (401, b"who?"),
    "403": (403, b"no"),
    "404": (404, b"where?"),
    "407": (407, b"proxy"),
    "garbage": (999, b""),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda name: name.replace(" ", "_"))
@pytest.mark.parametrize("mode", ["single", "batch"])
def test_nothing_is_lost_by(stopped, sink, fault, mode):
    sink.script = [FAULTS[fault]] * 2
    configure(stopped, sink.url, mode=mode, timeout="1s").start()
    ids = [f"m{n}" for n in range(6)]
    post_batch(stopped, ids)
    until(lambda: len(sink.requests) >= 3, stopped)  # both faults have fired
    until_caught_up(stopped)
    assert sink.ids() == ids and state(stopped)["deadLetters"] == 0 and state(stopped)["retries"] > 0
    # The same records have the same id in every attempt, and others another.
    pairs = {(request.headers["webhook-id"], request.body) for request in sink.requests}
    assert len(pairs) == len({id_ for id_, _ in pairs}) == len({body for _, body in pairs}) < len(sink.requests)
    assert all(request.path == "/in" for request in sink.requests)


def test_slow_reading_ends_at_the_timeout(stopped, sink):
    sink.slow = 1
    configure(stopped, sink.url, mode="batch", timeout="1s").start()
    ids = [f"m{n}" for n in range(20)]
    post_batch(stopped, ids, properties={"padding": "x" * 20000})
    until_failing(stopped, "timed out")
    until_caught_up(stopped)
    assert sink.slow == 0 and sink.ids() == ids


def test_down_and_back(stopped, sink):
    configure(stopped, sink.url, mode="batch").start()
    post_batch(stopped, ["m0"])
    until_caught_up(stopped)
    sink.stop()
    post_batch(stopped, [f"m{n}" for n in range(1, 30)])
    until_failing(stopped, "connect")
    sink.start()
    until_caught_up(stopped)
    assert sink.ids() == [f"m{n}" for n in range(30)]


def test_a_name_that_nobody_knows(stopped):
    configure(stopped, "http://endpoint.invalid/in").start()
    stopped.track("u1", "A", "m1")
    until_failing(stopped, "endpoint.invalid")
    assert state(stopped)["dropped"] == 0 and stopped.profile("user_id:u1").status == 200


def test_poison_becomes_a_dead_letter_and_nothing_else_does(stopped, sink):
    sink.answer = lambda request: (422, b'{"error":\n"no poison\x01 here"}') if b"poison" in request.body else (200, b"ok")
    configure(stopped, sink.url, mode="batch", max_records=50, concurrency=2).start()
    for user in ("u1", "u2", "u3"):
        batch = [{"type": "track", "userId": user, "event": "poison" if n == 17 else "A", "messageId": f"{user}-{n:02}"} for n in range(40)]
        assert stopped.post("/v1/batch", {"batch": batch}).status == 200
    until_caught_up(stopped)
    letters = stopped.get("/v1/admin/deadletters?destination=hook").json["deadLetters"]
    assert len(letters) == 3 and all(letter["reason"] == 'HTTP 422: {"error": "no poison here"}' for letter in letters), letters
    assert sorted(sink.ids()) == sorted(f"{user}-{n:02}" for user in ("u1", "u2", "u3") for n in range(40) if n != 17)
    assert state(stopped)["retries"] == 0
    sink.answer = lambda request: (200, b"ok")
    stopped.ctl("deadletters", "redrive", "hook")
    until(lambda: state(stopped)["deadLetters"] == 0, stopped)
    assert len(sink.ids()) == 120


def test_one_record_that_the_endpoint_dies_of_does_not_hold_up_others(stopped, sink):
    """It answers the batch with 500 every time; cut down, all but that record arrive."""
    sink.answer = lambda request: Reset() if b"poison" in request.body else (200, b"ok")
    configure(stopped, sink.url, mode="batch").start()
    stopped.post("/v1/batch", {"batch": [{"type": "track", "userId": f"u{n}", "event": "poison" if n == 5 else "A", "messageId": f"m{n:02}"} for n in range(30)]})
    until(lambda: len(sink.ids()) == 29, stopped)
    assert "m05" not in sink.ids() and state(stopped)["deadLetters"] == 0
    sink.answer = lambda request: (200, b"ok")
    until_caught_up(stopped)
    assert sorted(sink.ids()) == [f"m{n:02}" for n in range(30)]


def test_kill_9_loses_nothing_and_ids_are_stable(stopped, sink):
    sink.answer = lambda request: (200, b"ok") if len(sink.requests) % 7 else Reset()
    configure(stopped, sink.url, mode="batch", format="json_object", max_records=5, concurrency=3)
    ledger = Ledger(users=5)
    for round_ in range(4):
        stopped.start()
        ledger.tag = f"r{round_}"
        before = len(sink.requests)
        ledger.load(stopped, clients=3, batch=5)
        until(lambda: len(sink.requests) > before + 10, stopped)
        stopped.kill()
        ledger.join()
    stopped.start()
    until_caught_up(stopped)
    confirmed = set().union(*ledger.confirmed.values())
    assert len(confirmed) > 20
    assert confirmed <= set(sink.ids()) <= set().union(*ledger.sent.values())
    delivery_of = {}
    for request in sink.requests:
        for item in request.json["records"]:
            assert delivery_of.setdefault(item["record"]["messageId"], item["deliveryId"]) == item["deliveryId"]
    assert len(set(delivery_of.values())) == len(delivery_of)


# ── credentials ──────────────────────────────────────────────────────────────


class TokenServer(Sink):
    """Client credentials; tokens end after so many uses, which the endpoint says with 401."""

    def __init__(self, uses):
        self.uses, self.issued, self.left = uses, 0, {}
        super().__init__(self.serve)

    def serve(self, request):
        if request.path == "/token":
            fields = urllib.parse.parse_qs(request.body.decode())
            user = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
            if user != "client:s%20cret" or fields["grant_type"] != ["client_credentials"]:
                return (401, b'{"error":"invalid_client"}')
            with self.lock:
                self.issued += 1
                self.left[f"Bearer t{self.issued}"] = self.uses
                return (200, json.dumps({"access_token": f"t{self.issued}", "expires_in": 3600}).encode(), {"Content-Type": "application/json"})
        with self.lock:
            left = self.left.get(request.headers.get("authorization"), 0)
            if left == 0:
                return (401, b"expired")
            self.left[request.headers["authorization"]] -= 1
        return (200, b"ok")

    def taken(self):
        return [request for request in super().taken() if request.path == "/in"]


@pytest.fixture
def tokens():
    server = TokenServer(uses=10)
    yield server
    server.stop()


def oauth2(daemon, server, password="s cret"):
    return {"auth": "oauth2", "token_url": server.url.replace("/in", "/token"), "client_id": "client", "client_secret": secret(daemon, "client", password)}


def test_oauth2_tokens_are_renewed_when_they_end(stopped, tokens):
    configure(stopped, tokens.url, concurrency=4, **oauth2(stopped, tokens)).start()
    users = [f"u{n}" for n in range(10)]
    stopped.post("/v1/batch", {"batch": [{"type": "track", "userId": user, "event": "A", "messageId": f"{user}-{n}"} for n in range(5) for user in users]})
    until_caught_up(stopped)
    assert sorted(tokens.ids()) == sorted(f"{user}-{n}" for user in users for n in range(5))
    assert tokens.issued == 5 and state(stopped)["retries"] == 0  # 50 records, 10 uses each; who was refused was sent again at once


def test_oauth2_with_the_wrong_secret_waits(stopped, tokens):
    configure(stopped, tokens.url, **oauth2(stopped, tokens, "wrong")).start()
    stopped.track("u1", "A", "m1")
    error = until_failing(stopped, "no access token", "401", "invalid_client")
    assert "wrong" not in error and "wrong" not in stopped.log_text()
    secret(stopped, "client", "s cret")
    stopped.reload()
    until_caught_up(stopped)
    assert tokens.ids() == ["m1"]


def test_oauth2_tokens_are_asked_for_ahead_of_their_end(stopped, sink):
    """The token's time is nearly over when it comes, so a successor is asked for before it ends: no request is refused."""
    issued = []

    def answer(request):
        if request.path != "/token":
            return (200, b"ok")
        issued.append(time.monotonic())
        return (200, json.dumps({"access_token": f"t{len(issued)}", "expires_in": 2}).encode())

    sink.answer = answer
    configure(stopped, sink.url, **oauth2(stopped, sink)).start()
    n = 0
    while len(issued) < 3:
        stopped.track("u1", "A", f"m{n}")
        n += 1
        until_caught_up(stopped)
    assert state(stopped)["retries"] == 0 and all(request.status == 200 for request in sink.requests)


def test_secrets_stay_secret(stopped, sink):
    sink.script = [(401, b"no")]
    configure(stopped, sink.url, auth="bearer", token=secret(stopped, "token", "bearer-canary\n"), secret_headers=secret(stopped, "headers", "X-Api-Key: key-canary\n"),
              signing_secret=secret(stopped, "keys", SECRETS[0])).start()
    stopped.track("u1", "A", "m1")
    until_caught_up(stopped)
    assert sink.requests[0].headers["authorization"] == "Bearer bearer-canary" and sink.requests[0].headers["x-api-key"] == "key-canary"
    told = stopped.log_text() + stopped.get("/v1/admin/destinations").body.decode() + stopped.ctl("destinations").stdout
    assert "canary" not in told and SECRETS[0] not in told


# ── TLS ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def authority(tmp_path):
    return certificates.Authority(tmp_path / "ca")


def test_a_certificate_that_nobody_vouches_for(stopped, authority):
    sink = Sink(tls=authority.server("127.0.0.1"))
    try:
        configure(stopped, sink.url).start()
        stopped.track("u1", "A", "m1")
        until_failing(stopped, "certificate")
        assert not sink.requests
        configure(stopped, sink.url, http={**LOOPBACK, "ca": str(authority.file)})
        stopped.reload()
        until_caught_up(stopped)
        assert sink.ids() == ["m1"]
    finally:
        sink.stop()


def test_a_certificate_for_somebody_else(stopped, authority):
    sink = Sink(tls=authority.server("elsewhere.example"))
    try:
        configure(stopped, sink.url, http={**LOOPBACK, "ca": str(authority.file)}).start()
        stopped.track("u1", "A", "m1")
        until_failing(stopped, "127.0.0.1")
        assert not sink.requests and state(stopped)["dropped"] == 0
    finally:
        sink.stop()


def test_mutual_tls_and_a_certificate_that_is_renewed(stopped, authority):
    sink = Sink(tls=authority.server("127.0.0.1", clients=True))
    try:
        configure(stopped, sink.url, http={**LOOPBACK, "ca": str(authority.file)}).start()
        stopped.track("u1", "A", "m1")
        until_failing(stopped)  # no certificate: the endpoint does not talk to us
        assert not sink.requests
        certificate, key = authority.client("first")
        configure(stopped, sink.url, http={**LOOPBACK, "ca": str(authority.file), "certificate": str(certificate), "key": str(key)})
        stopped.reload()
        until_caught_up(stopped)
        assert sink.ids() == ["m1"] and sink.requests[-1].common_name() == "first"
        newer = authority.client("second")
        newer[1].replace(key)
        newer[0].replace(certificate)
        n = 2
        while sink.requests[-1].common_name() != "second":  # it is looked at within a second
            stopped.track("u1", "A", f"m{n}")
            until_caught_up(stopped)
            n += 1
            assert n < 2000, stopped.log_text()
        assert sink.ids() == [f"m{i}" for i in range(1, n)]
        certificate.write_text("broken")  # the last good ones stay in force
        until(lambda: "holds no certificate" in (stopped.track("u1", "A") and stopped.log_text()), stopped)
        until_caught_up(stopped)
        assert sink.requests[-1].common_name() == "second"
    finally:
        sink.stop()


def test_files_of_certificates_are_checked_at_load(stopped, authority):
    certificate, key = map(str, authority.client("me"))
    other = str(authority.client("other")[1])
    empty = stopped.folder / "empty.pem"
    empty.write_text("")
    rows = [
        ({"ca": "/nowhere/ca.pem"}, "http.ca: /nowhere/ca.pem No such file"),
        ({"ca": str(empty)}, "holds no certificate"),
        ({"certificate": certificate}, "http.certificate and http.key go together"),
        ({"key": key}, "http.certificate and http.key go together"),
        ({"certificate": certificate, "key": certificate}, "holds no key"),
        ({"certificate": certificate, "key": other}, "is not the key of http.certificate"),
        ({"certificate": key, "key": key}, "holds no certificate"),
        ({"allow": ["10.0.0.0/99"]}, "neither a network"),
        ({"certificat": certificate}, "did you mean"),
    ]
    for http, text in rows:
        configure(stopped, "https://hook.example/", http=http)
        run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60)
        assert run.returncode != 0 and text in run.stdout + run.stderr and "cdpd.yaml:" in run.stdout + run.stderr, (http, run.stdout, run.stderr)
    configure(stopped, "https://hook.example/", http={"ca": str(authority.file), "certificate": certificate, "key": key})
    assert subprocess.run(stopped.command("-n"), capture_output=True, timeout=60).returncode == 0


# ── where it must not go ─────────────────────────────────────────────────────

PRIVATE = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.1.1", "localhost", "LOCALHOST", "localhost.", "0.0.0.0", "0", "[::1]",
           "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127%2e0.0.1", "%31%32%37.0.0.1"]
AWAY = ["10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[fe80::1]", "[fc00::1]", "[fd00::1]", "[ff02::1]",
        "[::ffff:169.254.169.254]", "[::ffff:10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "2852039166", "0xa9fea9fe", socket.gethostname()]


def test_private_addresses_are_not_asked(stopped, sink):
    """Every way to write them, and names that lead to them: one daemon, one destination for each."""
    port = urllib.parse.urlsplit(sink.url).port
    rows = [{"name": f"d{n}", "plugin": "webhook", "options": {"url": f"http://{host}:{port}/in", "timeout": "2s"}} for n, host in enumerate(PRIVATE + AWAY)]
    text = json.dumps(rows).replace("{", "{{").replace("}", "}}")
    stopped.write_config(CONFIG + f"destinations: {text}\n")
    stopped.start()
    stopped.track("u1", "A", "m1")

    def errors():
        return {row["name"]: row.get("lastError", "") for row in stopped.get("/v1/admin/destinations").json["destinations"]}

    deadline = time.monotonic() + 120
    while not all(errors().values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    told = errors()
    names = ["localhost.", socket.gethostname()]  # which some machines do not know
    wrong = {host: told[f"d{n}"] for n, host in enumerate(PRIVATE + AWAY) if "private" not in told[f"d{n}"] and not (host in names and "resolv" in told[f"d{n}"])}
    assert not wrong, wrong
    assert not sink.requests and "m1" not in json.dumps(errors())


def test_a_redirect_leads_nowhere(stopped, sink):
    other = Sink()
    try:
        sink.answer = lambda request: (307, b"", {"Location": other.url})
        configure(stopped, sink.url).start()
        stopped.track("u1", "A", "m1")
        until_failing(stopped, "HTTP 307", "not followed", other.url)
        sink.answer = lambda request: (200, b"")
        until_caught_up(stopped)
        assert not other.requests and sink.ids() == ["m1"]
    finally:
        other.stop()


def test_other_destinations_do_not_notice(stopped, sink):
    """One endpoint hangs, another is dead: a third gets everything meanwhile."""
    hanging = Sink(answer=lambda request: Hang())
    try:
        rows = [{"name": name, "plugin": "webhook", "options": {"url": url, "mode": "batch"}, "http": LOOPBACK}
                for name, url in (("hook", sink.url), ("hanging", hanging.url), ("dead", "http://127.0.0.1:1/"))]
        stopped.write_config(CONFIG + "destinations: " + json.dumps(rows).replace("{", "{{").replace("}", "}}") + "\n")
        stopped.start()
        ids = [f"m{n}" for n in range(200)]
        for n in range(0, 200, 20):
            post_batch(stopped, ids[n : n + 20])
        until_caught_up(stopped)
        assert sink.ids() == ids and len(hanging.requests) >= 1
    finally:
        threading.Thread(target=hanging.stop).start()
        stopped.stop()
