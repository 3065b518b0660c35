"""What plugin authors use: the installed header and template, `cdpctl plugin check`, and its findings, each with its fault proven."""

import hashlib
import hmac
import json
import os
import pathlib
import shutil
import subprocess

import pytest
from cdpd import BUILD, CONFIG, ROOT, Daemon

SO = BUILD / "tests" / "plugins" / "so"
CTL = BUILD / "cdpctl"


def check(*arguments, env=None):
    return subprocess.run([str(CTL), "plugin", "check", *map(str, arguments)], capture_output=True, text=True, timeout=120, env=env)


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "events.ndjson"
    rows = [{"type": "track", "event": "Order Completed", "userId": f"u{n}", "messageId": f"m{n}", "properties": {"total": n},
             "timestamp": f"2026-11-20T10:{n // 60 % 60:02}:{n % 60:02}Z",
             "context": {"page": {"url": f"https://shop.example/?utm_source=s{n}"}}} for n in range(300)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix)], check=True, capture_output=True)
    return prefix


def test_the_template_builds_is_checked_and_runs_in_the_installed_daemon(installed, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(installed / "share" / "cdpd" / "template", folder)
    env = {**os.environ, "PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig"), "PATH": f"{installed}/bin:{os.environ['PATH']}"}
    env.pop("MAKEFLAGS", None)

    def make(*targets):
        return subprocess.run(["make", "-C", str(folder), *targets], capture_output=True, text=True, env=env)

    built = make("check")
    assert built.returncode == 0, built.stdout + built.stderr
    assert '1: {"example":{"is_large":true}}' in built.stdout
    assert '2: {"example":{"is_large":false}}' in built.stdout
    assert "nothing to complain about" in built.stdout
    assert make("install").returncode == 0
    config = CONFIG.replace("plugins: {{path: {build}/plugins}}\n", "").replace("- {{plugin: campaign}}", "- {{plugin: example, options: {{least: 10}}}}")
    (installed / "cdpd").unlink(missing_ok=True)
    (installed / "cdpd").symlink_to(installed / "bin" / "cdpd")
    daemon = Daemon(tmp_path, config=config, build=installed)
    daemon.start()
    try:
        daemon.track("u1", "Order Completed", properties={"total": 15})
        daemon.settled()
        assert daemon.events("user_id:u1")[0]["enrichment"] == {"example": {"is_large": True}}
    finally:
        daemon.stop()


def test_every_plugin_of_the_tree_passes_without_events():
    for path in sorted((BUILD / "plugins").glob("*.so")):
        ran = check(path, env={**os.environ})
        needs_options = any("is required" in line or "give " in line or "refused" in line for line in (ran.stderr + ran.stdout).splitlines())
        assert ran.returncode == 0 or needs_options, ran.stdout + ran.stderr
        assert path.stem in ran.stdout


def test_campaign_over_events(events):
    ran = check("--input", events, "--print", "--passes", "3", BUILD / "plugins" / "campaign.so")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '1: {"campaign":{"source":"s0"}' in ran.stdout
    assert "300 with fields, 0 without, 0 dropped, 0 failed" in ran.stdout
    assert "us an event" in ran.stdout


def test_options_are_checked_as_in_a_configuration(events):
    ran = check("--input", events, "--options", "{click_idz: [a]}", BUILD / "plugins" / "campaign.so")
    assert ran.returncode == 1 and "did you mean 'click_ids'" in ran.stderr, ran.stderr


def test_an_exporter_writes_for_real(events, tmp_path):
    ran = check("--input", events, "--options", f"{{directory: {tmp_path}/out}}", BUILD / "plugins" / "ndjson.so")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "verdicts: 300 ack, 0 drop, 0 retry" in ran.stdout
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")) == 300


def test_a_feature_in_every_order(events):
    ran = check("--input", events, "--field", "properties.total", "--options", "{least: 100}", SO / "threshold.so")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "reads: " in ran.stdout


@pytest.mark.parametrize("name, finding", [
    ("trial_crash", "it crashed (Segmentation fault) in enrich, at "),
    ("trial_exit", "it ended the process in enrich"),
    ("trial_leak", "it leaks: "),
    ("trial_order", "it calls itself exact, but reads otherwise added backwards"),
    ("wrong_abi", "ABI"),
])
def test_findings(name, finding, events):
    ran = check("--input", events, "--field", "properties.total", SO / f"{name}.so")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert finding in ran.stderr, ran.stderr
    if name == "trial_crash":
        assert "events.ndjson:8" in ran.stderr, "the line is named"


# ── what waits: asynchronous enrichers and sources ──


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_asynchronous_enricher_against_canned_answers(events, tmp_path):
    answers = lines(tmp_path / "answers.ndjson", {"url": "https://api.example/Order*", "status": 200, "headers": {"x-test": "yes"}, "body": "fine"},
                    {"url": "*", "error": "timeout"})
    ran = check("--input", events, "--answers", answers, "--print", "--passes", "3", "--options", "{url: 'https://api.example'}", SO / "fetcher.so")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '1: {"fetcher":{"body":"fine","header":"yes","status":200}}' in ran.stdout
    assert "300 with fields, 0 without, 0 later, 0 failed" in ran.stdout
    assert "web: 900 requests, 900 answered" in ran.stdout and "us an event" in ran.stdout and "memory:" in ran.stdout
    assert "900 x GET https://api.example/Order Completed" in ran.stdout


def test_its_cache_is_the_daemons(events, tmp_path):
    answers = lines(tmp_path / "answers.ndjson", {"url": "*", "body": {"so": True}})
    ran = check("--input", events, "--answers", answers, "--options", "{url: 'https://api.example', cached: true}", SO / "fetcher.so")
    assert ran.returncode == 0 and "web: 1 requests, 1 answered" in ran.stdout, ran.stdout + ran.stderr


def test_without_answers_there_is_no_network(events):
    ran = check("--input", events, "--options", "{url: 'https://api.example'}", SO / "fetcher.so")
    assert ran.returncode == 0, "nobody can answer: no finding. " + ran.stderr
    assert "300 failed" in ran.stdout and "there is no network here" in ran.stdout and "(no answer)" in ran.stdout


@pytest.mark.parametrize("mode, finding", [("error", "it failed on 10 of 10 events"), ("never", "a ticket was not answered within 10 s, at "), ("twice", "it answered what was answered")])
def test_findings_of_asynchronous_ones(tmp_path, mode, finding):
    events = lines(tmp_path / "events", *({"type": "track", "event": "A", "userId": "u1", "messageId": f"m{n}"} for n in range(10)))
    ran = check("--input", events, "--answers", lines(tmp_path / "none"), "--passes", "2", "--options", f"{{mode: {mode}}}", SO / "asker.so")
    assert ran.returncode == 1 and finding in ran.stderr, ran.stdout + ran.stderr
    for fine, told in (("now", "10 with fields"), ("later", "10 with fields"), ("thread", "10 without")):
        ran = check("--input", events, "--passes", "2", "--options", f"{{mode: {fine}, delay: 5ms}}", SO / "asker.so")
        assert ran.returncode == 0 and told in ran.stdout, ran.stdout + ran.stderr


def test_a_source_over_requests(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    secret.chmod(0o600)
    body = {"id": "m1", "event": "Order Completed", "userId": "u1", "total": 5}
    text = json.dumps(body, separators=(",", ":"))
    good = {"headers": {"X-Signature": hmac.new(b"s3cret", text.encode(), hashlib.sha256).hexdigest()}, "body": body, "expect": {"status": 200, "events": 1}}
    bad = {"headers": {"X-Signature": "00"}, "body": body, "expect": {"status": 401, "events": 0}}
    options = f"{{secret: 'file:{secret}'}}"
    ran = check("--requests", lines(tmp_path / "requests", good, bad), "--print", "--options", options, BUILD / "plugins" / "inbound.so")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '1: 200 ' in ran.stdout and '"messageId":"m1"' in ran.stdout and "2: 401 " in ran.stdout
    assert "replies: 1 events, 0 rejects, 0 failed" in ran.stdout and "decode: " in ran.stdout and "memory:" in ran.stdout
    good["expect"]["events"] = 2
    ran = check("--requests", lines(tmp_path / "requests", good), "--options", options, BUILD / "plugins" / "inbound.so")
    assert ran.returncode == 1 and "requests:1: events 1, 2 expected" in ran.stderr, ran.stderr


@pytest.mark.parametrize("body, finding", [
    ('{"type":"track","event":"A","userId":"u1"}', "1 events have no messageId"),
    ("fail", "requests:1: it failed (-7)"),
    ("rogue crash", "it crashed (Segmentation fault) in decode, at "),
])
def test_findings_of_sources(tmp_path, body, finding):
    plugin = "rogue" if body.startswith("rogue") else "hooked"
    ran = check("--requests", lines(tmp_path / "requests", {"body": body}), SO / f"{plugin}.so")
    assert ran.returncode == 1 and finding in ran.stderr, ran.stdout + ran.stderr


def test_wrong_usage():
    assert check().returncode == 2
    assert check("--passes", "1", "x.so").returncode == 2
    assert "nearly" not in check("/nowhere.so").stdout
    assert check("/nowhere.so").returncode == 1
