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
    stopped.track("u1", "Purchase", "m1", properties={"items": [{"id": "A-1"}]})
    stopped.settled()
    (event,) = stopped.events("user_id:u1")
    assert event["event"] == "Purchase", "as sent"
    assert event["enrichment"] == {"lua": {"rename": {"event": "Order Completed", "sku": "A-1"}}}


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
