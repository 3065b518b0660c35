"""The pages of docs/, tried word by word: every command of a `sh` block runs against a daemon as its page describes it, every answer that the page
shows has at least those members, and every piece of configuration is taken by `cdpd -n`."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import textwrap

import pytest
import yaml
from cdpd import BUILD, ROOT, Daemon

DOCS = ROOT / "docs"
QUICKSTART = (ROOT / "conf" / "quickstart.yaml").read_text()

HEAD = """\
store: {{path: {data}}}
listen: {{http: "127.0.0.1:0"}}
tokens_file: {folder}/tokens.yaml
plugins: {{path: {build}/plugins}}
journal: {{disk_free_min: 1MiB, ballast: 1MiB}}
"""


def blocks(page):
    """(language, text, does it follow the one before directly?) of each fenced or indented block, in order."""
    found, lines, i, last = [], (DOCS / page).read_text().split("\n"), 0, -9
    while i < len(lines):
        fence = re.match(r"^( *)```(\w*)$", lines[i])
        indented = lines[i].startswith("    ") and (i == 0 or not lines[i - 1].strip())
        if fence:
            end = next(k for k in range(i + 1, len(lines)) if lines[k].strip() == "```")
            found.append((fence.group(2), textwrap.dedent("\n".join(lines[i + 1 : end])), i - last <= 2))
            i = last = end
        elif indented and not re.match(r"^ *([-*]|\d+\.) ", lines[i]):
            end = next(k for k in range(i, len(lines) + 1) if k == len(lines) or not lines[k].startswith("    "))
            found.append(("", textwrap.dedent("\n".join(lines[i:end])), i - last <= 2))
            i = last = end - 1
        i += 1
    return found


def shell_blocks(page):
    return [text for language, text, _ in blocks(page) if language == "sh"]


def answers(page):
    """Each `sh` block with the JSON that stands directly behind it, or None."""
    found, all_blocks = [], blocks(page)
    for i, (language, text, _) in enumerate(all_blocks):
        if language == "sh":
            after = all_blocks[i + 1] if i + 1 < len(all_blocks) else ("", "", False)
            found.append((text, after[1] if after[0] == "json" and after[2] else None))
    return found


def loads(text):
    """JSON as people write it into a page: … stands for what was left out."""
    text = re.sub(r"\{…\}|\{ … \}", '{}', text)
    text = re.sub(r",\s*…\s*(?=[\]}])", "", text)
    return json.loads(re.sub(r"\[ *… *\]", "[]", text))


def is_alike(documented, actual):
    """Items of lists come in kinds: a refused link has a reason, an act an actor."""
    if not isinstance(documented, dict) or not isinstance(actual, dict):
        return type(documented) is type(actual)
    return all((key in documented) == (key in actual) for key in ("reason", "actor")) and documented.get("rule") == actual.get("rule")


def check_shape(documented, actual, where=""):
    """What the page shows is in the answer: members, and the kinds of their values."""
    if isinstance(documented, dict):
        assert isinstance(actual, dict), (where, documented, actual)
        for key, value in documented.items():
            assert key in actual, f"the page shows {where}/{key}, the answer has {list(actual)}"
            check_shape(value, actual[key], f"{where}/{key}")
    elif isinstance(documented, list) and isinstance(actual, list):
        for i, value in enumerate(documented):
            for like in [other for other in actual if is_alike(value, other)][:1]:
                check_shape(value, like, f"{where}/{i}")
    elif documented is not None and actual is not None and not isinstance(documented, bool):
        assert isinstance(documented, str) == isinstance(actual, str), (where, documented, actual)


class Chair:
    """A user's shell: the programs on the PATH, the daemon where the pages say it is."""

    def __init__(self, daemon, folder, **variables):
        self.daemon, self.folder = daemon, pathlib.Path(folder)
        tools = self.folder / "bin"
        tools.mkdir(exist_ok=True)
        for name, text in {
            "curl": f'exec {shutil.which("curl")} --fail-with-body -sS --max-time 30 "$@"',
            "cdpctl": f'exec {BUILD}/cdpctl "$@"',
            "cdpd": f'exec {BUILD}/cdpd "$@"',
            "pidof": f"echo {daemon.process.pid}",
        }.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        self.env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "CDPD_URL": daemon.url, **variables}

    def run(self, text, fails=()):
        """Each command by itself; the output of the last one."""
        output = ""
        for command in commands(text):
            command = command.replace("http://127.0.0.1:8080", self.daemon.url).replace("/var/lib/cdpd", str(self.daemon.data))
            done = subprocess.run(["bash", "-c", command], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
            should_fail = any(part in command for part in fails)
            assert (done.returncode != 0) == should_fail, f"{command}\n→ {done.returncode}\n{done.stdout}\n{done.stderr}"
            output = done.stdout
            self.settle()
        return output

    def run_whole(self, text):
        text = text.replace("/var/lib/cdpd", str(self.daemon.data))
        return subprocess.run(["bash", "-ec", text], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=120, check=True).stdout

    def settle(self):
        self.daemon.settled()


def commands(text):
    """Splits where a line does not go on: no open quote, no backslash; comments end with their line."""
    found, current = [], ""
    for line in text.split("\n"):
        if not current and (not line.strip() or line.lstrip().startswith("#")):
            continue
        current += line + "\n"
        is_open = line.endswith("\\") or len(re.findall(r"(?<!\\)'", re.sub(r'"[^"]*"(?=[^\']*(?:\'[^\']*\'[^\']*)*$)', "", current))) % 2
        if not is_open:
            found.append(current)
            current = ""
    assert not current, f"a command without an end: {current}"
    return found


@contextlib.contextmanager
def seat(config, files=None, **variables):
    with tempfile.TemporaryDirectory(prefix="cdpd-docs-") as folder:
        for name, text in (files or {}).items():
            (pathlib.Path(folder) / name).write_text(text)
        daemon = Daemon(folder, config)
        daemon.config_file.chmod(0o600)
        daemon.start()
        try:
            yield Chair(daemon, folder, **variables)
        finally:
            daemon.stop()


@contextlib.contextmanager
def quickstart(changes="", files=None):
    """conf/quickstart.yaml as it is, but for port and folders; `changes` are keys behind it."""
    with tempfile.TemporaryDirectory(prefix="cdpd-docs-") as folder:
        daemon = Daemon(folder).as_quickstart()
        for name, text in (files or {}).items():
            (daemon.folder / "conf" / name).write_text(text)
        daemon.data = pathlib.Path(folder) / "data"
        daemon.config_file.write_text(QUICKSTART + changes)
        daemon.start("--set", "listen.http=127.0.0.1:0", "--set", f"plugins.path={BUILD}/plugins", "--set", "journal.disk_free_min=1MiB", "--set", "journal.ballast=1MiB")
        daemon.get = lambda path, token="demo-admin-token", **headers: Daemon.get(daemon, path, token=token, **headers)
        try:
            yield Chair(daemon, folder)
        finally:
            daemon.stop()


def check_yaml(config, base="", files=None):
    with tempfile.TemporaryDirectory(prefix="cdpd-docs-") as folder:
        for name, text in (files or {}).items():
            (pathlib.Path(folder) / name).write_text(text)
        file = pathlib.Path(folder) / "cdpd.yaml"
        file.write_text(base + config)
        run = subprocess.run([BUILD / "cdpd", "-n", "-c", file, "--set", f"store.path={folder}/data"], capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, f"{base + config}\n{run.stderr}"


def check_answers(page, chair, fails=()):
    tried = 0
    for command, shown in answers(page):
        output = chair.run(command, fails)
        tried += len(commands(command))
        if shown and output.strip().startswith("{"):
            check_shape(loads(shown), json.loads(output))
    return tried


# ── each page ─────────────────────────────────────────────────────────────────


def send(chair, key, path, body):
    answer = chair.daemon.post(path, body, key=key)
    assert answer.status == 200, answer


def test_identity():
    with quickstart() as chair:
        server = "demo-server-key"
        send(chair, server, "/v1/identify", {"userId": "42", "traits": {"email": "ann@example.com", "plan": "gold"}})
        send(chair, server, "/v1/identify", {"anonymousId": "a-7f3", "traits": {"plan": "free"}})
        send(chair, server, "/v1/page", {"userId": "42", "anonymousId": "tablet"})
        send(chair, server, "/v1/page", {"userId": "43", "anonymousId": "tablet"})
        chair.settle()
        assert check_answers("identity.md", chair) >= 7
        # The dry runs' answers stand on the page without their commands.
        shown = [loads(text) for language, text, _ in blocks("identity.md") if language == "json" and "dryRun" in text]
        curl = "curl -s -H 'Authorization: Bearer demo-admin-token' -d '{\"a\":\"user_id:42\",\"b\":\"anonymous_id:%s\"}' 'http://127.0.0.1:8080/v1/profiles/%s?dry_run=1'"
        check_shape(shown[0], json.loads(chair.run(curl % ("tablet", "merge"))))
        check_shape(shown[1], json.loads(chair.run(curl % ("a-7f3", "unmerge"))))
    check_yaml(next(text for language, text, _ in blocks("identity.md") if language == "yaml"))


def test_zero_party():
    page = "zero-party.md"
    yamls = [text for language, text, _ in blocks(page) if language == "yaml"]
    config = HEAD + yamls[0].replace("{", "{{").replace("}", "}}")
    mood = next(text for text in shell_blocks(page) if "forms/mood" in text)
    definition = re.search(r"-d '(.*?)'", mood, re.S).group(1)
    with seat(config, {"forms.yaml": (ROOT / "conf" / "forms.yaml").read_text(), "mood.json": definition}, READ="test-read-token", ADMIN="test-admin-token", CDPD_TOKEN="test-admin-token") as chair:
        later = "cdpctl forms put mood mood.json"
        for command, shown in answers(page):
            if "cdpctl forms put" in command:
                chair.run(later)
            output = chair.run(command)
            if shown and output.strip().startswith("{"):
                check_shape(loads(shown), json.loads(output))
            if "forms/jackets/responses" in command:
                assert json.loads(output)["score"] == 3
        assert chair.daemon.profile("anonymous_id:telegram-7").json["traits"]["welcome.passed"]["value"] is True
    for text in yamls[1:]:
        if text.lstrip().startswith("consents:"):
            text = "  - name: with_consents\n    questions: [{id: a, type: text, text: A?}]\n" + textwrap.indent(textwrap.dedent(text), "    ")
        if not text.startswith("forms:"):
            text = "forms:\n" + textwrap.indent(textwrap.dedent(text), "  ")
        check_yaml(text)


def test_consent():
    page = "consent.md"
    purposes = next(text for language, text, _ in blocks(page) if language == "yaml")
    sources = 'sources:\n  - {{id: backend, kind: server, write_keys: [server-key]}}\ndestinations: [{{name: crm, plugin: ndjson, options: {{directory: {folder}/crm}}}}]\n'
    with seat(HEAD + sources + purposes.replace("{", "{{").replace("}", "}}"), READ="test-read-token", ADMIN="test-admin-token", CDPD_TOKEN="test-admin-token") as chair:
        send(chair, "server-key", "/v1/identify", {"userId": "42"})
        assert check_answers(page, chair) >= 6
        shown = next(text for _, text, _ in blocks(page) if text.startswith("$ cdpctl verify"))
        pattern = re.sub(r"\d+", r"\\d+", re.sub(r"Head \w+…", "Head HASH", shown.split("\n", 1)[1])).replace("HASH", "[0-9a-f]{64}")
        assert re.fullmatch(pattern, chair.run("cdpctl verify consents").strip()), pattern


def test_erasure():
    with quickstart() as chair:
        for ref in ("anonymous_id:tablet-7", "user_id:42"):
            key = "userId" if ref.startswith("user") else "anonymousId"
            send(chair, "demo-server-key", "/v1/identify", {key: ref.split(":")[1], "traits": {"plan": "gold"}})
        chair.settle()
        tried = 0
        for language, text, _ in blocks("erasure.md"):
            for line in text.split("\n"):
                line = line.replace("…\" ", 'demo-admin-token" ').replace("Bearer …", "Bearer demo-admin-token")
                if language or not line.startswith(("cdpctl", "curl")):
                    continue
                output = chair.run(line)
                tried += 1
                if line.startswith("curl -X DELETE"):
                    receipt = json.loads(output)["id"]
        assert tried == 8
        shown = next(text for _, text, _ in blocks("erasure.md") if text.startswith('{"id":"0006'))
        check_shape(loads(shown), json.loads(chair.run(f"curl -H 'Authorization: Bearer demo-admin-token' http://127.0.0.1:8080/v1/erasures/{receipt}")))
        for path in ("/v1/suppressions", "/v1/suppressions/user_id:42"):
            answer = chair.daemon.get(path)
            assert answer.status in (200, 404), answer


def test_privacy():
    rules = next(text for language, text, _ in blocks("privacy.md") if language == "yaml")
    check_yaml(rules)
    with quickstart(rules.split("\nsources:")[0] + "\n") as chair:
        key, trying = shell_blocks("privacy.md")
        lines = commands(trying)
        chair.run(lines[0])
        profile = chair.run(lines[1])
        assert "p_" in profile and "pro" in profile and "ssn" not in profile, profile
        assert chair.run(lines[2], fails=["grep"]) == ""
        pseudonym = chair.run_whole(key).strip().split("\n")[-1]
        assert re.fullmatch(r"user_id:p_[0-9a-f]{64}", pseudonym), pseudonym


def test_tracking_plan():
    plan, name = [text for language, text, _ in blocks("tracking-plan.md") if language == "yaml"][:2]
    with quickstart(files={"tracking-plan.yaml": plan}) as chair:
        chair.daemon.config_file.write_text(QUICKSTART + name)
        check, order = shell_blocks("tracking-plan.md")
        before = chair.daemon.log_text().count("reloaded")
        chair.run(check.replace("cdpd.yaml", "conf/quickstart.yaml").replace("cdpd -n", f"cdpd -n --set plugins.path={BUILD}/plugins"))
        while chair.daemon.log_text().count("reloaded") == before:
            pass
        refused = json.loads(chair.run(order, fails=["curl"]))
        shown = loads(next(text for language, text, _ in blocks("tracking-plan.md") if language == "json"))
        check_shape(shown, refused)
        assert (refused["pointer"], refused["message"]) == (shown["pointer"], shown["message"])
        assert "must be at least 0" in chair.run("cdpctl rejects")


def test_features():
    shown = [text for language, text, _ in blocks("features.md") if language == "yaml"]
    check_yaml(shown[0], files={"features.yaml": shown[1]})
    names = set()
    for text in shown[2:]:
        check_yaml("features:\n" + textwrap.indent(text, "  "))
        names |= {feature["name"] for feature in yaml.safe_load(text)}
    assert len(names) > 15
    check_yaml("features_file: features.yaml\n", files={"features.yaml": (ROOT / "conf" / "features.yaml").read_text()})


def shown_features():
    """Each definition on the page with the value that the page shows for it."""
    page = (DOCS / "features.md").read_text()
    definitions = [feature for language, text, _ in blocks("features.md")[3:] if language == "yaml" for feature in yaml.safe_load(text)]
    values = {}
    for text in re.findall(r'^`(\{".*?\})`', page, re.M) + [text for language, text, _ in blocks("features.md") if language == "json"]:
        values.update(loads(text))
    return definitions, values


def test_features_read_as_the_page_shows():
    definitions, values = shown_features()
    config = HEAD + "sources: [{{id: backend, kind: server, write_keys: [test-server-key]}}]\nfeatures: " + json.dumps(definitions).replace("{", "{{").replace("}", "}}")
    with seat(config) as chair:
        for day in (14, 21):
            products = [{"product_id": f"p{i}", "sku": f"s{i}", "category": category, "price": 100} for i, category in enumerate(("shoes", "hats"))]
            for event, properties in (("Order Completed", {"total": 19.99, "currency": "EUR", "products": products}), ("Product Viewed", {"product_id": "p1", "category": "shoes"})):
                send(chair, "test-server-key", "/v1/track", {"userId": "u", "event": event, "properties": properties, "timestamp": f"2026-11-{day}T08:30:00Z"})
            send(chair, "test-server-key", "/v1/page", {"userId": "u", "context": {"page": {"path": "/shoes"}}})
        chair.settle()
        features = chair.daemon.get("/v1/profiles/user_id:u/features").json["features"]
    assert len(values) >= 15
    for name, value in values.items():
        assert features[name] is not None, name
        check_shape(value, features[name], name)
        if isinstance(value, list):
            assert len(features[name]) == (24 if name == "active_hours" else 7)


def test_segments():
    base = "features: [{name: orders, type: count}, {name: revenue, type: sum, field: properties.total}]\n"
    for language, text, _ in blocks("segments.md"):
        if language != "yaml":
            continue
        if text.startswith("when:"):
            text = "segments:\n  - name: shown\n" + textwrap.indent(text, "    ")
        elif not text.startswith("segments:"):
            text = "segments:\n" + textwrap.indent(text, "  ")
        check_yaml(text, base)
    operators = re.findall(r"^\| `\w+` \| `(\{.*?\})` \|", (DOCS / "segments.md").read_text(), re.M)
    assert len(operators) >= 14
    for operator in operators:
        check_yaml(f"segments:\n  - {{name: shown, when: {operator}}}\n", base)
