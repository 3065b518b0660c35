"""Bad input gets its documented error with a code and a pointer, good neighbours are kept, memory stays flat."""

import gzip
import json

import pytest
from cdpd import WRITE_KEY, basic

GOOD = {"type": "track", "userId": "good", "event": "Fine"}

SINGLE = [
    ("bad JSON", b"{not json", 400, "invalid_json", None),
    ("empty body", b"", 400, "invalid_json", None),
    ("an array where an object belongs", b"[1]", 400, "schema_violation", None),
    ("no identity", {"event": "A"}, 400, "missing_identity", None),
    ("empty identity", {"event": "A", "userId": "", "anonymousId": None}, 400, "missing_identity", None),
    ("unknown type", {"userId": "u", "type": "explode"}, 400, "unknown_type", "/type"),
    ("no event name", {"userId": "u", "type": "track"}, 400, "schema_violation", "/event"),
    ("traits that are no object", {"userId": "u", "type": "identify", "traits": 5}, 400, "schema_violation", "/traits"),
    ("a time in words", {**GOOD, "timestamp": "yesterday"}, 400, "bad_timestamp", "/timestamp"),
    ("a time before 1970", {**GOOD, "timestamp": "1869-01-01T00:00:00Z"}, 400, "bad_timestamp", "/timestamp"),
    ("a time after 2100", {**GOOD, "timestamp": "2169-01-01T00:00:00Z"}, 400, "bad_timestamp", "/timestamp"),
    ("an identifier of 10 KB", {**GOOD, "userId": "x" * 10_000}, 400, "invalid_identifier", "/userId"),
    ("a messageId of 10 KB", {**GOOD, "messageId": "x" * 10_000}, 413, "too_large", "/messageId"),
    ("an event of 100 KB", {**GOOD, "properties": {"x": "y" * 100_000}}, 413, "too_large", None),
    ("100,000 keys in one object", {**GOOD, "properties": {str(n): 1 for n in range(100_000)}}, 413, "too_large", None),
    ("invalid UTF-8", b'{"type":"track","userId":"u","event":"\xff\xfe"}', 400, "invalid_json", None),
    ("a raw NUL byte", b'{"type":"track","userId":"u\x00","event":"A"}', 400, "invalid_json", None),
    ("an escaped NUL in an identifier", b'{"type":"track","userId":"u\\u0000x","event":"A"}', 400, "invalid_identifier", "/userId"),
    ("100,000 levels", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 413, "too_large", None),
    ("a number beyond doubles", b'{"type":"track","userId":"u","event":"A","properties":{"n":1e999}}', 400, "invalid_json", None),
    ("trailing bytes", b'{"type":"track","userId":"u","event":"A"} x', 400, "invalid_json", None),
]


@pytest.mark.parametrize("name,body,status,code,pointer", SINGLE, ids=[row[0] for row in SINGLE])
def test_one_bad_event(shared, name, body, status, code, pointer):
    answer = shared.post("/v1/track", body)
    assert answer.status == status and answer.json["code"] == code, answer
    assert answer.json["error"]["code"] == code and answer.json["message"]
    if pointer:
        assert answer.json["pointer"] == pointer, answer


@pytest.mark.parametrize("name,body,status,code,pointer", [row for row in SINGLE if isinstance(row[1], dict)], ids=[row[0] for row in SINGLE if isinstance(row[1], dict)])
def test_good_neighbours_are_kept(shared, name, body, status, code, pointer):
    answer = shared.post("/v1/batch", {"batch": [GOOD, {"type": "track", **body}, GOOD]})
    assert answer.status == 200, answer
    assert answer.json["accepted"] == 2, answer
    assert [(r["index"], r["code"]) for r in answer.json["rejected"]] == [(1, code)]


@pytest.mark.parametrize("element", [b'{"userId":"\xff"}', b'{"userId":"u","n":1e999}', b'"text"', b"null", b'{"a":' * 100 + b"1" + b"}" * 100],
                         ids=["invalid UTF-8", "number", "a string", "null", "depth"])
def test_neighbours_of_an_undecodable_element_are_kept(shared, element):
    good = json.dumps(GOOD).encode()
    answer = shared.post("/v1/batch", b'{"batch":[' + good + b"," + element + b"," + good + b"]}")
    assert answer.status == 200 and answer.json["accepted"] == 2, answer
    assert [r["index"] for r in answer.json["rejected"]] == [1]


def test_the_key_in_the_body_is_found_behind_a_broken_neighbour(shared):
    good = json.dumps({**GOOD, "writeKey": WRITE_KEY}).encode()
    for body in (b"[" + b'{"userId":"\xff"},' + good + b"]", b"{broken}\n" + good + b"\n" + good):
        answer = shared.post("/v1/events", body, key=None)
        assert answer.status == 200 and answer.json["accepted"] >= 1, answer
        assert [r["index"] for r in answer.json["rejected"]] == [0]


def test_wrong_key_and_no_key(shared):
    for key in ("wrong", None):
        answer = shared.post("/v1/track", GOOD, key=key)
        assert answer.status == 401 and answer.json["code"] == "unknown_key", answer


def test_alias_needs_the_right(shared):
    message = {"type": "alias", "userId": "new", "previousId": "old"}
    assert shared.post("/v1/alias", message).status == 200  # this source may
    from cdpd import CONFIG, running
    with running(CONFIG.replace(", may: [alias]", "")) as daemon:
        answer = daemon.post("/v1/alias", message)
        assert answer.status == 403 and answer.json["code"] == "forbidden"


def test_a_body_of_10_mb(shared):
    answer = shared.post("/v1/batch", b'{"batch":[' + b" " * 10_000_000 + b"]}")
    assert answer.status == 413 and answer.json["code"] == "too_large"


def test_a_gzip_bomb(shared):
    bomb = gzip.compress(b" " * 200_000_000, 9)
    before = shared.memory()
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Type": "text/plain"}):  # said, and only by its magic
        answer = shared.post("/v1/batch", bomb, **headers)
        assert answer.status == 413 and answer.json["code"] == "too_large"
    assert shared.memory() - before < 40_000_000


def test_gzip_is_taken_however_it_is_labelled(shared):
    body = gzip.compress(json.dumps({"batch": [GOOD]}).encode())
    for headers in ({"Content-Encoding": "gzip"}, {"Content-Type": "text/plain"}, {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}):
        assert shared.post("/v1/batch", body, **headers).json["accepted"] == 1
    assert shared.post("/v1/batch", body[:-9], **{"Content-Encoding": "gzip"}).status == 400
    assert shared.post("/v1/batch", b"x", **{"Content-Encoding": "br"}).status == 415


def test_more_than_2500_events(shared):
    answer = shared.post("/v1/batch", {"batch": [GOOD] * 2503})
    assert answer.status == 200 and answer.json["accepted"] == 2500
    assert {r["code"] for r in answer.json["rejected"]} == {"too_large"} and len(answer.json["rejected"]) == 3


def test_wrong_positions_and_references(shared):
    foreign = shared.profile("user_id:good", shared.track("good", "A"))
    assert foreign.status == 200
    for path, status, code in [
        ("/v1/profiles/nonsense", 400, "invalid_parameter"),
        ("/v1/profiles/id:xyz", 400, "invalid_parameter"),
        ("/v1/profiles/user_id:good?min_position=garbage", 400, "invalid_parameter"),
        ("/v1/profiles/user_id:good/events?limit=0", 400, "invalid_parameter"),
        ("/v1/profiles/user_id:good/events?limit=many", 400, "invalid_parameter"),
        ("/v1/profiles/user_id:good/events?cursor=garbage", 400, "invalid_parameter"),
        ("/v1/changes?since=garbage", 400, "invalid_parameter"),
        ("/v1/profiles/%ff%fe", 400, None),
    ]:
        answer = shared.get(path)
        assert answer.status == status and (code is None or answer.json["code"] == code), (path, answer)


def test_memory_stays_flat_under_rubbish(shared):
    rubbish = [b"{" * 50_000, b'{"batch":[' + b"{}," * 30_000 + b"{}]}", b"\xff" * 1_000_000, json.dumps({"batch": [{"x": ["y"] * 1000}] * 500}).encode()]
    for body in rubbish:
        shared.post("/v1/batch", body)
    before = shared.memory()
    for _ in range(15):
        for body in rubbish:
            assert shared.post("/v1/batch", body).status in (200, 400, 413)
    assert shared.memory() - before < 30_000_000


def test_everything_bad_was_accounted_for(shared):
    status = shared.settled()
    assert status["balanced"] is True
    assert status["events"]["rejected"] > 0


def test_pipelined_requests_are_answered_in_order(shared):
    with shared.socket() as sock:
        one = json.dumps(GOOD).encode()
        request = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(WRITE_KEY)}\r\nContent-Length: {len(one)}\r\n\r\n".encode() + one
        sock.sendall(request * 50)
        data = b""
        while data.count(b'"accepted":1') < 50:
            piece = sock.recv(65536)
            assert piece, data[-500:]
            data += piece
    assert data.count(b"HTTP/1.1 200 OK") == 50
