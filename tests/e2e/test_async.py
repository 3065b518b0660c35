"""Asynchronous enrichers in the real daemon: their answers reach the event and the features that read them, whatever they and their
providers do."""

import os
import shutil
import time

from cdpd import BUILD, CONFIG

TEST_PLUGINS = BUILD / "tests" / "plugins" / "so"
FEATURES = """\
features:
  - {{name: heard, type: count, where: [{{field: enrichment.asker.said, in: [hello]}}]}}
  - {{name: unheard, type: count, where: [{{field: enrichment.asker.said, exists: false}}]}}
"""


def with_asker(daemon, options="", instance="", names=("asker",), features=FEATURES):
    """The daemon's own plugins and the asker, with options; `instance` are further keys of the enricher."""
    folder = daemon.folder / "plugins"
    folder.mkdir(mode=0o755, exist_ok=True)
    for path in [*(BUILD / "plugins").glob("*.so"), TEST_PLUGINS / "asker.so"]:
        shutil.copy(path, folder)
        os.chmod(folder / path.name, 0o755)
    text = CONFIG.replace("plugins: {{path: {build}/plugins}}", "plugins: {{path: {folder}/plugins}}")
    text = text.replace("features:\n", features)
    askers = "".join(f"  - {{{{plugin: asker, name: {name}, options: {{{{{options}}}}}{instance}}}}}\n" for name in names)
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
    return daemon.events(ref)


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
