"""/v1/subscriptions: durable named cursors. They move by commit alone, one consumer holds one, nothing is lost by a kill -9 of either side."""

import concurrent.futures
import json

from cdpd import ADMIN_TOKEN, READ_TOKEN, SERVER_KEY, WRITE_KEY, running
from test_changes import Stream


def call(daemon, method, path, body=None, token=READ_TOKEN):
    data = None if body is None else json.dumps(body).encode()
    return daemon.request(method, "/v1/subscriptions" + path, data, {"Authorization": f"Bearer {token}"})


def put(daemon, name, **body):
    answer = call(daemon, "PUT", "/" + name, body)
    assert answer.status in (200, 201), answer
    return answer.json


def commit(daemon, name, cursor, **more):
    answer = call(daemon, "POST", f"/{name}/commit", {"cursor": cursor, **more})
    assert answer.status == 200, answer
    return answer.json


def show(daemon, name):
    answer = call(daemon, "GET", "/" + name)
    assert answer.status == 200, answer
    return answer.json


def stream_of(daemon, name, **options):
    return Stream(daemon, "?subscription=" + name, **options)


def identify(daemon, user, **traits):
    answer = daemon.post("/v1/identify", {"userId": user, "traits": traits}, key=SERVER_KEY)
    assert answer.status == 200, answer
    return answer.headers["x-cdpd-position"]


def applied(daemon, position):
    daemon.profile("user_id:nobody", position)


def test_its_life(cdpd):
    answer = call(cdpd, "PUT", "/crm", {"kinds": ["trait", "merged"], "traits": ["plan"], "start": "now"})
    assert answer.status == 201, answer
    made = answer.json
    assert made["name"] == "crm" and made["kinds"] == ["trait", "merged"] and made["traits"] == ["plan"] and made["features"] == [] == made["segments"]
    assert made["behind"] == 0 and made["held"] is False and made["expired"] is False and made["committedAt"] is None
    again = call(cdpd, "PUT", "/crm", {"kinds": ["merged", "trait"], "traits": ["plan"], "start": "oldest"})
    assert again.status == 200 and again.json["cursor"] == made["cursor"], "it is there: its cursor stays"
    assert show(cdpd, "crm")["createdAt"] == made["createdAt"]
    for n in range(5):
        put(cdpd, f"s{n}")
    page = cdpd.get("/v1/subscriptions?limit=4", token=READ_TOKEN).json
    rest = cdpd.get("/v1/subscriptions?limit=4&cursor=" + page["next"], token=READ_TOKEN).json
    assert [s["name"] for s in page["subscriptions"] + rest["subscriptions"]] == ["crm", "s0", "s1", "s2", "s3", "s4"] and rest["next"] is None
    assert call(cdpd, "DELETE", "/crm").status == 200
    assert call(cdpd, "DELETE", "/crm").status == 404 and call(cdpd, "GET", "/crm").status == 404
    assert call(cdpd, "POST", "/crm/commit", {"cursor": made["cursor"]}).status == 404
    assert cdpd.get("/v1/changes?subscription=crm").status == 404


def test_bad_input_is_refused(cdpd):
    applied(cdpd, identify(cdpd, "u1", plan="a"))
    cursor = put(cdpd, "ok")["cursor"]
    foreign_feed = identify(cdpd, "u1", plan="b")
    for path, method, body, status, pointer in [
        ("/" + "n" * 65, "PUT", {}, 400, ""),
        ("/a%20b", "PUT", {}, 400, ""),
        ("/a", "PUT", {"kinds": ["nothing"]}, 400, "/kinds"),
        ("/a", "PUT", {"kinds": "trait"}, 400, "/kinds"),
        ("/a", "PUT", {"traits": ["x"] * 101}, 400, "/traits"),
        ("/a", "PUT", {"segments": [1]}, 400, "/segments"),
        ("/a", "PUT", {"features": ["x" * 256]}, 400, "/features"),
        ("/a", "PUT", {"traits": ["x" * 250] * 99}, 413, ""),
        ("/a", "PUT", {"start": "later"}, 400, "/start"),
        ("/a", "PUT", {"start": foreign_feed}, 400, "/start"),
        ("/a", "PUT", [], 400, ""),
        ("/ok/commit", "POST", {}, 400, "/cursor"),
        ("/ok/commit", "POST", {"cursor": 7}, 400, "/cursor"),
        ("/ok/commit", "POST", {"cursor": "x"}, 400, "/cursor"),
        ("/ok/commit", "POST", {"cursor": foreign_feed}, 400, "/cursor"),
        ("/ok/commit", "POST", {"cursor": cursor, "reset": "yes"}, 400, "/reset"),
    ]:
        answer = call(cdpd, method, path, body)
        assert answer.status == status and answer.json["pointer"] == pointer, (path, body, answer)
    assert call(cdpd, "GET", "/a").status == 404
    for query in ["since=start", "kind=trait", "trait=a", "feature=a", "segment=a"]:
        assert cdpd.get("/v1/changes?subscription=ok&" + query).status == 400
    with running() as other:
        put(other, "ok")
        assert call(other, "POST", "/ok/commit", {"cursor": cursor}).status == 410
        assert call(other, "PUT", "/b", {"start": cursor}).status == 410


def test_who_may(cdpd):
    for token, status in [("nothing", 401), (READ_TOKEN, 200), (ADMIN_TOKEN, 200)]:
        assert cdpd.get("/v1/subscriptions", token=token).status == status
    assert cdpd.get("/v1/subscriptions", token=None).status == 401
    assert cdpd.request("PUT", "/v1/subscriptions/a", b"{}", {"Authorization": f"Basic {WRITE_KEY}"}).status == 401


def test_a_cursor_moves_by_commit_alone(cdpd):
    put(cdpd, "crm", kinds=["trait"])
    for n in range(6):
        position = identify(cdpd, f"u{n}", n=n)
    applied(cdpd, position)
    first = stream_of(cdpd, "crm")
    ids = [first.next()[0] for _ in range(6)]
    first.close()
    # Read, not committed: it comes again.
    second = stream_of(cdpd, "crm")
    assert [second.next()[0] for _ in range(6)] == ids
    assert show(cdpd, "crm")["held"] is True
    assert commit(cdpd, "crm", ids[3])["moved"] is True
    assert commit(cdpd, "crm", ids[3]) == {"ok": True, "cursor": ids[3], "moved": False}
    assert commit(cdpd, "crm", ids[1]) == {"ok": True, "cursor": ids[3], "moved": False}, "never backwards"
    second.close()
    third = stream_of(cdpd, "crm")
    assert [third.next()[0] for _ in range(2)] == ids[4:]
    # Asked for explicitly it does, and who reads is told to begin again.
    assert commit(cdpd, "crm", ids[0], reset=True) == {"ok": True, "cursor": ids[0], "moved": True}
    _, kind, data = third.next()
    assert kind == "error" and data["code"] == "subscription_changed"
    assert third.response.readline() == b""
    fourth = stream_of(cdpd, "crm")
    assert [fourth.next()[0] for _ in range(5)] == ids[1:]
    # A browser's EventSource says where it was; the subscription's own cursor counts.
    fifth = stream_of(cdpd, "crm", last_id=ids[4])
    assert fifth.next()[0] == ids[1]


def test_the_newest_takes_over(cdpd):
    put(cdpd, "crm", kinds=["trait"])
    put(cdpd, "other", kinds=["trait"])
    streams = [stream_of(cdpd, "crm") for _ in range(4)]
    bystander = stream_of(cdpd, "other")
    for old in streams[:3]:
        _, kind, data = old.next()
        assert kind == "error" and data["code"] == "taken_over"
        assert old.response.readline() == b""
    identify(cdpd, "u1", plan="a")
    assert streams[3].next()[2]["traits"]["plan"]["value"] == "a"
    assert bystander.next()[2]["traits"]["plan"]["value"] == "a"
    # Looking at the head alone takes nothing.
    assert cdpd.request("HEAD", "/v1/changes?subscription=crm", headers={"Authorization": f"Bearer {READ_TOKEN}"}).status == 200
    identify(cdpd, "u2", plan="b")
    assert streams[3].next()[2]["traits"]["plan"]["value"] == "b"
    # Changed filters and deletion end it too.
    put(cdpd, "crm", kinds=["merged"])
    assert streams[3].next()[2]["code"] == "subscription_changed"
    assert call(cdpd, "DELETE", "/other").status == 200
    assert bystander.until(lambda kind, data: kind == "error")[-1][2]["code"] == "not_found"


def test_filters_of_a_subscription(cdpd):
    put(cdpd, "plans", kinds=["trait", "merged"], traits=["plan"])
    put(cdpd, "orders", features=["orders"])
    plans, orders = stream_of(cdpd, "plans"), stream_of(cdpd, "orders")
    cdpd.post("/v1/identify", {"userId": "u1", "traits": {"plan": "free", "city": "Riga"}})
    cdpd.post("/v1/page", {"anonymousId": "a1"})
    cdpd.settled()
    cdpd.post("/v1/identify", {"userId": "u1", "anonymousId": "a1", "traits": {"city": "Oslo"}})
    cdpd.track("u1", "Order Completed", properties={"total": 3})
    _, kind, data = plans.next()
    assert kind == "trait" and list(data["traits"]) == ["plan"]
    assert [plans.next()[1] for _ in range(1)] == ["merged"]
    _, kind, data = orders.next()
    assert kind == "feature" and data["features"] == {"orders": 1}


def consume(daemon, name, wanted, commit_every=7, abandon_after=None):
    """Reads `wanted` traits of name n, committing now and then. Returns what was seen and what was committed last."""
    stream = stream_of(daemon, name)
    assert stream.response.status == 200, stream.response.read()
    seen, last = [], None
    while wanted(seen):
        cursor, kind, data = stream.next()
        if kind != "trait":
            continue
        seen.append(data["traits"]["n"]["value"])
        if len(seen) % commit_every == 0:
            commit(daemon, name, cursor)
            last = len(seen)
        if abandon_after and len(seen) == abandon_after:
            break
    stream.close()
    return seen, last


def test_kills_of_both_sides_leave_no_gap(cdpd):
    put(cdpd, "crm", traits=["n"])
    total, sent, got, settled = 120, 0, [], 0
    for turn in range(4):
        for _ in range(total // 4):
            identify(cdpd, f"u{sent}", n=sent)
            sent += 1
        if turn % 2:
            cdpd.kill()
            cdpd.start()
        # The consumer dies without committing all it saw.
        seen, last = consume(cdpd, "crm", lambda seen: True, abandon_after=23)
        assert seen == list(range(settled, settled + 23)), "from the last commit on, in order, without a gap"
        settled += last
        if not turn % 2:
            cdpd.kill()
            cdpd.start()
        got += seen
    seen, _ = consume(cdpd, "crm", lambda seen: not seen or seen[-1] < total - 1)
    assert seen == list(range(settled, total))
    assert set(got + seen) == set(range(total))


def test_many_commits_are_written_together(cdpd):
    put(cdpd, "crm", traits=["n"])
    names = [f"s{n}" for n in range(20)]
    for name in names:
        put(cdpd, name)
    for n in range(30):
        position = identify(cdpd, f"u{n}", n=n)
    applied(cdpd, position)
    stream = stream_of(cdpd, "crm")
    ids = [stream.next()[0] for _ in range(30)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda name: [commit(cdpd, name, cursor) for cursor in ids], names))
    cdpd.kill()
    cdpd.start()
    assert {show(cdpd, name)["cursor"] for name in names} == {ids[-1]}


def test_there_are_never_more_than_a_thousand(cdpd):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: call(cdpd, "PUT", f"/s{n}", {}).status, range(1010)))
    assert answers.count(201) == 1000 and answers.count(413) == 10
    assert call(cdpd, "DELETE", "/s" + str(answers.index(201))).status == 200
    assert call(cdpd, "PUT", "/one-more", {}).status == 201
