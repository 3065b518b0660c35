"""Lua scripts in the real daemon: the two examples do what they say, and a bad script stops the start, never the events."""

from cdpd import CONFIG, ROOT

EXAMPLES = ROOT / "plugins" / "lua" / "examples"


def with_scripts(daemon, *paths):
    rows = "".join(f"  - {{{{plugin: lua, name: s{n}, options: {{{{script: {path}}}}}}}}}\n" for n, path in enumerate(paths))
    daemon.write_config(CONFIG + rows)  # its last section is the list of enrichers
    return daemon


def test_the_examples(stopped):
    with_scripts(stopped, EXAMPLES / "drop_test_traffic.lua", EXAMPLES / "rename.lua").start()
    answer = stopped.post("/v1/track", {"userId": "test-9", "event": "Purchase", "messageId": "m-test"})
    assert "enricher_dropped" in answer.body.decode() and "test account" in answer.body.decode(), answer
    stopped.track("u1", "Purchase", "m1", properties={"items": [{"id": "A-1"}], "total": 5, "order_id": "A"})
    stopped.settled()
    (event,) = stopped.events("user_id:u1")
    assert event["event"] == "Order Completed" and event["enrichment"] == {"lua": {"rename": {"sku": "A-1"}}, "renamed_from": "Purchase"}
    assert stopped.profile("user_id:u1").json["features"]["orders"] == 1, "features know it by its new name"
    # What is sent again is known again: it is compared as it was sent.
    stopped.track("u1", "Purchase", "m1", properties={"items": [{"id": "A-1"}], "total": 5, "order_id": "A"})
    stopped.settled()
    assert stopped.profile("user_id:u1").json["features"]["orders"] == 1 and len(stopped.events("user_id:u1")) == 1
    stopped.stop()
    stopped.start()
    assert stopped.events("user_id:u1")[0]["event"] == "Order Completed"


def test_the_tracking_plan_is_about_what_was_sent(stopped):
    with_scripts(stopped, EXAMPLES / "rename.lua")
    text = stopped.config_file.read_text().replace("{", "{{").replace("}", "}}")
    stopped.write_config(text + "tracking_plan:\n  unplanned: reject\n  events:\n    - {{event: Purchase}}\n")
    stopped.start()
    assert stopped.post("/v1/track", {"userId": "u1", "event": "Purchase", "messageId": "m1"}).json["accepted"] == 1
    refused = stopped.post("/v1/track", {"userId": "u1", "event": "Order Completed", "messageId": "m2"})
    assert refused.status == 400 and refused.json["code"] == "schema_violation", refused
    stopped.settled()
    assert [event["event"] for event in stopped.events("user_id:u1")] == ["Order Completed"]


def test_a_failing_script_costs_only_its_answer(stopped):
    script = stopped.folder / "bad.lua"
    script.write_text("function enrich(event)\n  if event.userId == 'loop' then while true do end end\n  return {n = event.properties.n + 1}\nend\n")
    with_scripts(stopped, script).start()
    for user, n in [("loop", 1), ("text", "x"), ("fine", 1)]:
        stopped.track(user, "A", properties={"n": n})
    stopped.settled()
    seen = {user: stopped.events(f"user_id:{user}")[0].get("enrichment") for user in ("loop", "text", "fine")}
    assert seen == {"loop": None, "text": None, "fine": {"lua": {"bad": {"n": 2}}}}
    assert "bad.lua:3" in stopped.log_text(), "the log names the script's line"
    assert 'cdpd_enricher_errors_total{enricher="s0"} 2' in stopped.get("/metrics").body.decode()


def test_a_script_that_does_not_compile_stops_the_start(stopped):
    script = stopped.folder / "broken.lua"
    script.write_text("function enrich(event)\n")
    with_scripts(stopped, script).spawn()
    assert stopped.process.wait(30) != 0
    stopped.process.stdout.close()
    assert "broken.lua" in stopped.log_text() and "near <eof>" in stopped.log_text()
