"""Asynchronous enrichers in the real daemon: their answers reach the event and the features that read them, whatever they and their
providers do."""

import contextlib
import http.client
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from cdpd import BUILD, CONFIG, SERVER_KEY

TEST_PLUGINS = BUILD / "tests" / "plugins" / "so"
ISOLATED = ""  # test_isolated.py runs all this with other words here
FEATURES = """\
features:
  - {{name: heard, type: count, where: [{{field: enrichment.asker.said, in: [hello]}}]}}
  - {{name: unheard, type: count, where: [{{field: enrichment.asker.said, exists: false}}]}}
"""


def with_asker(daemon, options="", instance="", names=("asker",), features=FEATURES, config=CONFIG):
    """The daemon's own plugins and the asker, with options; `instance` are further keys of the enricher."""
    folder = daemon.folder / "plugins"
    folder.mkdir(mode=0o755, exist_ok=True)
    for path in [*(BUILD / "plugins").glob("*.so"), TEST_PLUGINS / "asker.so", TEST_PLUGINS / "fetcher.so"]:
        if not (folder / path.name).exists():  # a running daemon has mapped it
            shutil.copy(path, folder)
            os.chmod(folder / path.name, 0o755)
    text = config.replace("plugins: {{path: {build}/plugins}}", "plugins: {{path: {folder}/plugins}}")
    text = text.replace("features:\n", features)
    askers = "".join(f"  - {{{{plugin: asker, name: {name}, options: {{{{{options}}}}}{instance}{ISOLATED}}}}}\n" for name in names)
    daemon.write_config(text + askers)
    return daemon


def features(daemon, ref="user_id:u1"):
    answer = daemon.get(f"/v1/profiles/{ref}")
    return answer.json["features"] if answer.status == 200 else {}


def wait_for(daemon, what, timeout=60):
    deadline = time.monotonic() + timeout
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, daemon.log_text()[-4000:] + daemon.get("/metrics").body.decode()[-20000:]
        time.sleep(0.05)


def metric(daemon, name, label='="asker"'):
    for line in daemon.get("/metrics").body.decode().splitlines():
        if line.startswith(name) and label in line:
            return float(line.rsplit(" ", 1)[1])
    return 0


def events(daemon, ref="user_id:u1"):
    known = daemon.get(f"/v1/profiles/{ref}").status == 200
    return daemon.events(ref) if known else []


def test_an_answer_reaches_the_event_and_the_features_that_read_it(stopped):
    with_asker(stopped).start()
    position = stopped.track("u1", "Order Completed", "m1", properties={"total": 7})
    assert stopped.profile("user_id:u1", position).json["features"]["orders"] == 1, "what reads no answer counts at once"
    wait_for(stopped, lambda: features(stopped).get("heard") == 1)
    assert features(stopped)["unheard"] == 0 and features(stopped)["events"] == 1
    (event,) = events(stopped)
    assert event["enrichment"]["asker"] == {"event": "Order Completed", "nth": 1, "said": "hello"}
    assert stopped.settled()["balanced"]


def test_a_rebuild_asks_nobody(stopped):
    with_asker(stopped).start()
    for n in range(20):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard") == 20)
    before = features(stopped)
    assert stopped.stop() == 0
    shutil.rmtree(stopped.data / "profiles")
    with_asker(stopped, "mode: never", ", deadline: 10ms").start()
    wait_for(stopped, lambda: features(stopped).get("events") == 20)
    stopped.settled()
    assert features(stopped) == before
    assert all(event["enrichment"]["asker"]["said"] == "hello" for event in events(stopped))
    assert metric(stopped, "cdpd_enricher_events_total") == 0


def test_a_kill_between_answer_and_fold_counts_once(stopped):
    with_asker(stopped, "mode: later, delay: 1ms").start()
    sent = 0
    for _ in range(6):
        for _ in range(30):
            stopped.track("u1", "A", f"m{sent}")
            sent += 1
        stopped.kill()
        stopped.start()
    wait_for(stopped, lambda: features(stopped).get("heard") == sent)
    assert features(stopped)["unheard"] == 0 and stopped.settled()["balanced"]


def test_the_daemon_stops_and_starts_with_questions_open(stopped):
    with_asker(stopped, "mode: never", ", deadline: 1m").start()
    for n in range(40):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: metric(stopped, "cdpd_enricher_in_flight") == 16)
    assert stopped.stop() == 0
    with_asker(stopped).start()
    wait_for(stopped, lambda: features(stopped).get("heard") == 40)


# ── enrichers that misbehave: events are acknowledged and counted, the enricher is contained ──


def test_one_that_never_answers(stopped):
    """Its questions run out, events go on without; when it answers again the rest is asked."""
    with_asker(stopped, "mode: never, until: 12", ", deadline: 100ms").start()
    if ISOLATED:  # what times out because there is no process yet is no question that it counts
        wait_for(stopped, lambda: metric(stopped, "cdpd_isolated_up") == 1)
    for n in range(200):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard", 0) + features(stopped).get("unheard", 0) == 200, 120)
    given_up = features(stopped)["unheard"]
    assert metric(stopped, "cdpd_enricher_timeouts_total") >= 10, "the fault fired"
    assert given_up == metric(stopped, "cdpd_enricher_given_up_total") and features(stopped)["heard"] == 200 - given_up > 0
    assert features(stopped)["events"] == 200 and stopped.settled()["balanced"]


def test_one_that_keeps_its_questions_begins_anew(stopped):
    with_asker(stopped, "mode: never", ", deadline: 20ms, concurrency: 2").start()
    for n in range(6):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("unheard") == 6)
    assert stopped.log_text().count("begins anew") >= 2


def test_one_that_hangs_in_its_call(stopped):
    """Its thread is lost; events are acknowledged, counted without it, and the daemon still stops."""
    with_asker(stopped, "mode: hang", ", deadline: 20ms, max_wait: 1s").start()
    for n in range(50):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("unheard") == 50)
    assert metric(stopped, "cdpd_plugin_asked_total") == 1 and metric(stopped, "cdpd_enricher_timeouts_total") >= 1
    position = stopped.track("u2", "A", "late")
    assert stopped.profile("user_id:u2", position).json["features"]["events"] == 1
    assert stopped.stop() == 0
    assert "did not stop" in stopped.log_text()


def test_one_that_answers_twice(stopped):
    with_asker(stopped, "mode: twice").start()
    for n in range(50):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard") == 50)
    assert metric(stopped, "cdpd_plugin_strays_total") == 50, "the fault fired"
    assert [event["enrichment"]["asker"]["said"] for event in events(stopped)] == ["hello"] * 50


def test_one_that_answers_late(stopped):
    with_asker(stopped, "mode: later, delay: 300ms", ", deadline: 10ms").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("unheard") == 1)
    wait_for(stopped, lambda: metric(stopped, "cdpd_plugin_strays_total") >= 1)
    assert "enrichment" not in events(stopped)[0] or "asker" not in events(stopped)[0]["enrichment"]
    assert features(stopped)["heard"] == 0


def test_one_that_answers_from_other_threads_and_after_its_end(stopped):
    with_asker(stopped, "mode: thread, delay: 200ms").start()
    for n in range(30):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: metric(stopped, "cdpd_enricher_answers_total") >= 1)
    assert stopped.stop() == 0, "answers that come after destroy touch nothing"
    with_asker(stopped).start()
    wait_for(stopped, lambda: sum(features(stopped).get(name, 0) for name in ("heard", "unheard")) == 30)


def test_one_that_answers_100_megabytes(stopped):
    with_asker(stopped, "mode: huge", ", concurrency: 1").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("unheard") == 1)
    assert metric(stopped, "cdpd_plugin_strays_total") == 1, "it was refused"


def test_one_that_fails_in_a_row_is_paused(stopped):
    with_asker(stopped, "mode: error, until: 12", ", concurrency: 1").start()
    for n in range(60):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard", 0) + features(stopped).get("unheard", 0) == 60, 120)
    assert metric(stopped, "cdpd_enricher_pauses_total") >= 1 and features(stopped)["heard"] > 0
    assert features(stopped)["unheard"] == metric(stopped, "cdpd_enricher_errors_total") >= 10


def test_one_that_asks_for_a_pause_loses_nothing(stopped):
    with_asker(stopped, "mode: busy, until: 3").start()
    for n in range(40):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard") == 40, 120)
    assert features(stopped)["unheard"] == 0 and metric(stopped, "cdpd_enricher_pauses_total") >= 1


def test_fail_closed_waits_and_asks_again(stopped):
    with_asker(stopped, "mode: error, until: 15", ", fail: closed").start()
    for n in range(30):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard") == 30, 120)
    assert features(stopped)["unheard"] == 0 and metric(stopped, "cdpd_enricher_errors_total") >= 10


def test_fail_closed_is_bounded(stopped):
    with_asker(stopped, "mode: error", ", fail: closed, max_wait: 1s").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: features(stopped).get("unheard") == 1)


def test_removing_an_enricher_releases_what_waits_for_it(stopped):
    with_asker(stopped, "mode: never", ", fail: closed, deadline: 1m").start()
    for n in range(20):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: metric(stopped, "cdpd_enricher_in_flight") == 16 and features(stopped)["events"] == 20)
    assert features(stopped)["unheard"] == 0
    with_asker(stopped, names=())
    stopped.reload()
    wait_for(stopped, lambda: features(stopped).get("unheard") == 20)
    position = stopped.track("u1", "A", "after")
    assert stopped.profile("user_id:u1", position).json["features"]["unheard"] == 21, "nobody is waited for any more"


def test_a_changed_enricher_is_asked_what_the_old_one_left(stopped):
    with_asker(stopped, "mode: never", ", deadline: 1m").start()
    for n in range(40):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: metric(stopped, "cdpd_enricher_in_flight") == 16)
    with_asker(stopped)
    stopped.reload()
    wait_for(stopped, lambda: features(stopped).get("heard") == 40)


def test_two_instances_of_one_plugin(stopped):
    """A feature that reads from both counts when the later one has answered."""
    with_asker(stopped, "mode: later, delay: 20ms", names=("asker", "asker2")).start()
    for n in range(20):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: features(stopped).get("heard") == 20)
    assert features(stopped)["unheard"] == 0
    for name in ("asker", "asker2"):
        wait_for(stopped, lambda name=name: metric(stopped, "cdpd_enricher_answers_total", f'="{name}"') == 20)


def test_only_events_that_are_asked_for(stopped):
    with_asker(stopped, instance=', events: ["Order Completed", page]').start()
    stopped.track("u1", "Other", "m1")
    stopped.track("u1", "Order Completed", "m2")
    wait_for(stopped, lambda: features(stopped).get("heard") == 1)
    assert features(stopped)["unheard"] == 1 and metric(stopped, "cdpd_enricher_events_total") == 1


PURPOSE = """\
consent:
  purposes:
    - {{name: insights, default: granted, gates: [enrich], events: [Asked]}}
"""


def test_nobody_is_asked_about_who_does_not_allow_it(stopped):
    """Neither when the request says so, nor when the person did."""
    with_asker(stopped)
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}")
    stopped.write_config(text + PURPOSE)
    stopped.start()
    stopped.track("u1", "Asked", "m1", context={"consent": {"purposes": {"insights": False}}})
    stopped.track("u1", "Other", "m2", context={"consent": {"purposes": {"insights": False}}})
    stopped.track("u2", "Asked", "m3")
    wait_for(stopped, lambda: stopped.get("/v1/consents/check?person=user_id:u2&purpose=insights").status == 200)
    answer = stopped.post("/v1/consents", {"person": "user_id:u2", "purpose": "insights", "state": "withdrawn"}, key=SERVER_KEY)
    assert answer.status == 200, answer
    stopped.track("u2", "Asked", "m4")
    stopped.track("u2", "Other", "m5")
    wait_for(stopped, lambda: features(stopped, "user_id:u2").get("heard") == 2 and features(stopped).get("heard") == 1)
    assert features(stopped)["unheard"] == 1 and features(stopped, "user_id:u2")["unheard"] == 2  # the act itself


def test_events_over_grpc_are_gated_alike(stopped):
    pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
    from rpc import client, event

    with_asker(stopped)
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}")
    stopped.write_config(text + PURPOSE)
    stopped.start()
    denied = b'{"consent":{"purposes":{"insights":false}}}'
    with client(stopped) as rpc:
        events_of_u1 = [event("u1", "Asked", "m1", context=denied), event("u1", "Other", "m2", context=denied), event("u1", "Asked", "m3")]
        assert rpc.Publish(events=events_of_u1).accepted == 3
    wait_for(stopped, lambda: features(stopped).get("heard") == 2)
    assert features(stopped)["unheard"] == 1
    assert [e["messageId"] for e in events(stopped) if "enrichment" not in e] == ["m1"]


def test_an_erased_person_leaves_no_answers(stopped):
    with_asker(stopped, "say: canary-in-the-mine").start()
    position = stopped.track("u1", "A", "m1")
    stopped.profile("user_id:u1", position)
    wait_for(stopped, lambda: "enrichment" in events(stopped)[0])
    answer = stopped.request("DELETE", "/v1/profiles/user_id:u1", headers={"Authorization": "Bearer test-admin-token"})
    assert answer.status in (200, 202), answer
    wait_for(stopped, lambda: all(e["state"] == "done" for e in stopped.get("/v1/erasures").json["erasures"]), 120)
    assert stopped.stop() == 0
    for path in stopped.data.rglob("*.mdb"):
        assert b"canary-in-the-mine" not in path.read_bytes(), path


# ── providers ──


class Provider(http.server.ThreadingHTTPServer):
    """Answers as its `answer` says: a function of the handler."""

    daemon_threads = True

    def __init__(self, answer):
        self.seen, self.lock = [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with self.server.lock:
                    self.server.seen.append((self.path, self.headers.get("x-secret")))
                self.server.answer(self)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with self.server.lock:
                    self.server.seen.append((self.path, body))
                self.server.answer(self)

            def log_message(self, *_):
                pass

        self.answer = answer
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


def say(handler, status=200, body=b"sunny", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def provider():
    server = Provider(say)
    yield server
    server.shutdown()
    server.server_close()


def with_fetcher(daemon, provider, options="", instance=", http: {{allow: [127.0.0.1]}}", features="features:\n"):
    with_asker(daemon, names=(), features=features)
    text = daemon.config_file.read_text().replace("{", "{{").replace("}", "}}")
    url = provider if isinstance(provider, str) else provider.url
    daemon.write_config(text + f"  - {{{{plugin: fetcher, options: {{{{url: '{url}'{options}}}}}{instance}{ISOLATED}}}}}\n")
    return daemon


def fetched(daemon, count, timeout=60):
    """What the fetcher set, of as many events."""
    def look():
        found = [event["enrichment"]["fetcher"] for event in events(daemon) if "fetcher" in event.get("enrichment", {})]
        return found if len(found) >= count else None
    return wait_for(daemon, look, timeout)


def test_a_provider_answers(stopped, provider):
    provider.answer = lambda handler: say(handler, body=b"rain in " + handler.path.encode(), x_test="yes")
    with_fetcher(stopped, provider).start()
    stopped.track("u1", "Paris", "m1")
    assert fetched(stopped, 1) == [{"body": "rain in /Paris", "header": "yes", "status": 200}]


def test_one_request_for_all_and_after_a_restart_none(stopped, provider):
    with_fetcher(stopped, provider, ", cached: true").start()
    for n in range(50):
        stopped.track("u1", "Paris", f"m{n}")
    fetched(stopped, 50)
    assert stopped.stop() == 0
    stopped.start()
    stopped.track("u1", "Paris", "m50")
    assert {f["body"] for f in fetched(stopped, 51)} == {"sunny"}
    assert [path for path, _ in provider.seen] == ["/Paris"]
    assert "life 2" in stopped.log_text(), "the key-values are still there"


def test_a_provider_that_fails_is_not_remembered(stopped, provider):
    failures = iter([500, 500])
    provider.answer = lambda handler: say(handler, next(failures, 200))
    with_fetcher(stopped, provider, ", cached: true", ", fail: closed, http: {{allow: [127.0.0.1]}}").start()
    stopped.track("u1", "Paris", "m1")
    assert fetched(stopped, 1) == [{"body": "sunny"}]
    assert len(provider.seen) == 3


def test_a_provider_that_has_enough(stopped, provider):
    enough = iter([429] * 3)
    provider.answer = lambda handler: say(handler, next(enough, 200), Retry_After="1")
    with_fetcher(stopped, provider).start()
    for n in range(10):
        stopped.track("u1", "Paris", f"m{n}")
    assert len(fetched(stopped, 10, 120)) == 10


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_a_provider_that_breaks_off_or_talks_nonsense(stopped, provider, reply):
    broken = iter([reply] * 2)

    def answer(handler):
        bad = next(broken, None)
        if bad is None:
            return say(handler)
        handler.wfile.write(bad)
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    provider.answer = answer
    with_fetcher(stopped, provider, "", ", fail: closed, http: {{allow: [127.0.0.1]}}").start()
    stopped.track("u1", "Paris", "m1")
    assert fetched(stopped, 1)[0]["body"] == "sunny"
    assert len(provider.seen) >= 3, "the fault fired"


def test_an_answer_that_is_too_large(stopped, provider):
    provider.answer = lambda handler: say(handler, body=b"x" * 100000)
    with_fetcher(stopped, provider, ", max_body: 10KB").start()
    stopped.track("u1", "Paris", "m1")
    assert fetched(stopped, 1) == [{"error": -3}]


def test_private_addresses_are_refused(stopped, provider):
    """Also by name, by other spellings, and behind a redirect."""
    port = provider.server_port
    with_fetcher(stopped, f"http://127.0.0.1:{port}", instance="").start()
    stopped.track("u1", "Paris", "m1")
    assert fetched(stopped, 1) == [{"error": -5}]
    for n, host in enumerate(["localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0"], 2):
        with_fetcher(stopped, f"http://{host}:{port}", instance="")
        stopped.reload()
        wait_for(stopped, lambda n=n: f"life {n}" in stopped.log_text())
        stopped.track("u1", "Paris", f"m{n}")
        assert fetched(stopped, n)[0] == {"error": -5}, host
    assert provider.seen == [], "nobody came"


def test_connections_and_requests_are_limited(stopped, provider):
    """20 a second: a burst of two, then one each 50 ms. Never more than two at a time."""
    inside, most, lock = [0], [0], threading.Lock()

    def answer(handler):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        with lock:
            inside[0] -= 1
        say(handler)

    provider.answer = answer
    with_fetcher(stopped, provider, "", ", http: {{allow: [127.0.0.1], connections: 2, requests_per_second: 20}}").start()
    began = time.monotonic()
    for n in range(40):
        stopped.track("u1", "Paris", f"m{n}")
    fetched(stopped, 40)
    assert time.monotonic() - began >= 1.5 and most[0] <= 2 and len(provider.seen) == 40


def test_a_redirect_is_judged_like_a_request(stopped, provider):
    other = Provider(say)
    provider.answer = lambda handler: say(handler, 302, Location=f"http://127.0.0.2:{other.server_port}/elsewhere")
    with contextlib.closing(other.socket):
        with_fetcher(stopped, provider).start()
        stopped.track("u1", "Paris", "m1")
        assert fetched(stopped, 1) == [{"error": -5}]
        assert len(provider.seen) == 1 and other.seen == []
        provider.answer = lambda handler: say(handler, 302, Location=f"http://localhost:{other.server_port}/elsewhere")
        stopped.track("u1", "Paris", "m2")
        assert fetched(stopped, 2)[0]["body"] == "sunny"
        assert other.seen == [("/elsewhere", None)], "another host gets none of our headers"
        other.shutdown()


def test_a_hung_provider_delays_no_ack_and_the_rest_is_caught_up(stopped, provider):
    hung = threading.Event()
    stopping = threading.Event()

    def answer(handler):
        if hung.is_set():
            stopping.wait(60)
        with contextlib.suppress(OSError):
            say(handler)

    provider.answer = answer
    hung.set()
    with_fetcher(stopped, provider, ", timeout: 100ms", ", deadline: 200ms, http: {{allow: [127.0.0.1]}}").start()
    for n in range(300):
        stopped.track("u1", "Paris", f"m{n}")
    wait_for(stopped, lambda: metric(stopped, "cdpd_enricher_pauses_total", '="fetcher"') >= 2)
    hung.clear()
    stopping.set()
    wait_for(stopped, lambda: metric(stopped, "cdpd_enricher_answers_total", '="fetcher"') + metric(stopped, "cdpd_enricher_given_up_total", '="fetcher"') >= 300, 120)
    assert metric(stopped, "cdpd_enricher_given_up_total", '="fetcher"') >= 1, "the fault fired"
    given_up = int(metric(stopped, "cdpd_enricher_given_up_total", '="fetcher"'))
    assert given_up < 150 and len(fetched(stopped, 300 - given_up)) == 300 - given_up
    assert stopped.settled()["balanced"]


def test_a_sync_enricher_that_holds_up_an_io_thread_is_named(stopped):
    with_asker(stopped, names=())
    shutil.copy(TEST_PLUGINS / "sleepy.so", stopped.folder / "plugins")
    os.chmod(stopped.folder / "plugins" / "sleepy.so", 0o755)
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}")
    stopped.write_config(text + "  - {{plugin: sleepy}}\n")
    stopped.start()
    stopped.track("u1", "Quick", "m1")
    assert "holds up" not in stopped.log_text()
    stopped.track("u1", "Sleep", "m2")
    assert "enricher sleepy holds up an io thread" in stopped.log_text()
    assert metric(stopped, "cdpd_enricher_late_total", '="sleepy"') == 1


def with_poster(daemon, provider, instance=", http: {{allow: [127.0.0.1]}}"):
    with_asker(daemon, names=(), features="features:\n")
    if not (daemon.folder / "plugins" / "poster.so").exists():
        shutil.copy(TEST_PLUGINS / "poster.so", daemon.folder / "plugins")
        os.chmod(daemon.folder / "plugins" / "poster.so", 0o755)
    text = daemon.config_file.read_text().replace("{", "{{").replace("}", "}}")
    daemon.write_config(text + f"destinations:\n  - {{{{plugin: poster, options: {{{{url: '{provider.url}/in'}}}}{instance}{ISOLATED}}}}}\n")
    return daemon


def posted(provider):
    with provider.lock:
        return [json.loads(line)["messageId"] for _, body in provider.seen for line in body.splitlines()]


def test_an_exporter_posts_and_waits_for_the_answer(stopped, provider):
    """The answer, a timer and key-values reach it while its batch is pending; trouble repeats batches and loses none."""
    trouble = iter([500, 429, 200, 503])
    provider.answer = lambda handler: say(handler, next(trouble, 200), Retry_After="1")
    with_poster(stopped, provider).start()
    for n in range(50):
        stopped.track("u1", "A", f"m{n}")
    wait_for(stopped, lambda: metric(stopped, "cdpd_destination_delivered_total", '="poster"') == 50)
    ids = posted(provider)
    assert set(ids) == {f"m{n}" for n in range(50)} and len(ids) > 50, "the fault fired"
    assert stopped.stop() == 0
    stopped.start()
    stopped.track("u1", "A", "last")
    wait_for(stopped, lambda: metric(stopped, "cdpd_destination_delivered_total", '="poster"') == 51)
    assert posted(provider)[-1] == "last"


def test_an_exporter_cannot_reach_private_addresses(stopped, provider):
    with_poster(stopped, provider, "").start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: metric(stopped, "cdpd_destination_retries_total", '="poster"') >= 1)
    assert provider.seen == []
    with_poster(stopped, provider)
    stopped.reload()
    wait_for(stopped, lambda: metric(stopped, "cdpd_destination_delivered_total", '="poster"') == 1)


def test_a_stop_does_not_wait_for_a_service_that_hangs(stopped, provider):
    stopping = threading.Event()
    provider.answer = lambda handler: stopping.wait(60)
    with_poster(stopped, provider).start()
    stopped.track("u1", "A", "m1")
    wait_for(stopped, lambda: posted(provider) == ["m1"])
    assert stopped.stop(30) == 0
    stopping.set()


def test_an_answer_that_crashes_the_fold_ends_the_wait(stopped):
    """Twice, then the answer is left out, visibly; the event waits for nothing any more, its neighbours count."""
    with_asker(stopped, "say: crash-now, until: 1", features=FEATURES + "  - {{name: boom, type: crasher, field: enrichment.asker.said}}\n")
    shutil.copy(TEST_PLUGINS / "crasher.so", stopped.folder / "plugins")
    os.chmod(stopped.folder / "plugins" / "crasher.so", 0o755)
    stopped.start()
    with contextlib.suppress(OSError, http.client.HTTPException):  # the crash may overtake the answer
        stopped.track("u1", "A", "m1")
    deaths = 0
    while deaths < 2:
        stopped.process.wait(30)
        deaths += 1
        stopped.process.stdout.close()
        stopped.spawn()
    stopped.kill()
    with_asker(stopped, features=FEATURES + "  - {{name: boom, type: crasher, field: enrichment.asker.said}}\n")
    stopped.start()
    stopped.track("u1", "A", "m2")
    wait_for(stopped, lambda: features(stopped).get("heard") == 1)
    assert features(stopped)["events"] == 2 and metric(stopped, "cdpd_quarantined_total", "") >= 1
    wait_for(stopped, lambda: metric(stopped, "cdpd_awaits", "") == 0)


@pytest.mark.parametrize(
    "enrichers,complaint",
    [
        ("- {{plugin: campaign, events: [A]}}", "'events' is for asynchronous enrichers, 'campaign' is none"),
        ("- {{plugin: campaign, fail: closed}}", "'fail' is for asynchronous enrichers, 'campaign' is none"),
        ("- {{plugin: asker, fail: perhaps}}", "open"),
        ("- {{plugin: asker, deadlin: 1s}}", "did you mean 'deadline'"),
        ("- {{plugin: asker, http: {{allow: ['10.0.0.0/99']}}}}", "'10.0.0.0/99' is neither a network"),
        ("- {{plugin: asker}}\n  - {{plugin: asker}}", "asker"),
        ("- {{plugin: asker, max_wait: 0}}", "max_wait"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_line(stopped, enrichers, complaint):
    with_asker(stopped, names=())
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}").replace("  - {{plugin: campaign}}", "  " + enrichers)
    stopped.write_config(text)
    run = subprocess.run(stopped.command("-n"), capture_output=True, text=True, timeout=60, cwd=stopped.folder)
    assert run.returncode == 1 and complaint in run.stderr and "cdpd.yaml:" in run.stderr, run.stderr


def test_sync_enrichers_change_at_a_restart_only(stopped):
    with_asker(stopped).start()
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}")
    stopped.write_config(text.replace("  - {{plugin: campaign}}\n", ""))
    stopped.reload()
    wait_for(stopped, lambda: "can only change at a restart" in stopped.log_text())
    assert [p["kind"] for p in stopped.get("/v1/admin/plugins").json["plugins"]] == ["enrich", "enrich_async"]
