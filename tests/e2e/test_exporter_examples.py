"""The example.yaml of each exporter is a configuration that is taken."""

import subprocess

import pytest
from cdpd import BUILD, ROOT


@pytest.mark.parametrize("plugin", ["files", "kafka", "nats", "ndjson", "postgres"])
def test_example(tmp_path, plugin):
    text = (ROOT / "plugins" / plugin / "example.yaml").read_text()
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    secret.chmod(0o600)
    for place, there in (("/etc/cdpd/kafka-password", secret), ("/var/lib/cdpd", tmp_path)):
        text = text.replace(place, str(there))
    config = tmp_path / "cdpd.yaml"
    config.write_text(f"store: {{path: {tmp_path}/data}}\nlisten: {{http: \"127.0.0.1:0\"}}\nplugins: {{path: {BUILD}/plugins}}\n{text}")
    run = subprocess.run([str(BUILD / "cdpd"), "-n", "-c", str(config)], capture_output=True, text=True, timeout=60, env={"CDPD_POSTGRES_PASSWORD": "x"})
    assert run.returncode == 0, run.stdout + run.stderr
