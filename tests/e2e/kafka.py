"""Kafka brokers for tests: librdkafka's mock in a process of its own, and Apache Kafka where its jars can be had."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from cdpd import BUILD, ROOT

TOOL = BUILD / "tests" / "kafka_tool"
CACHE = BUILD / "tests" / "kafka-jars"


def rows_of(lines):
    """(partition, offset, key, delivery id, message id, value) in the order of each partition."""
    rows = []
    for line in lines:
        if line == "end":
            return rows
        partition, offset, key, delivery, message, value = line.split("\t", 5)
        rows.append((int(partition), int(offset), key, delivery, message, value))
    raise AssertionError("kafka_tool ended before it was through")


class Mock:
    def __init__(self):
        self.process = subprocess.Popen([str(TOOL), "mock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.brokers = self.process.stdout.readline().strip()

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def peek(self, topic):
        self.say(f"peek {topic}")
        lines = []
        while not lines or lines[-1] != "end":
            line = self.process.stdout.readline()
            assert line, "the mock broker ended"
            lines.append(line.rstrip("\n"))
        return rows_of(lines)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def jars():
    """The folder with Apache Kafka's jars, fetched once; skips where they cannot be had."""
    if not shutil.which("java"):
        pytest.skip("no Apache Kafka: java is not installed")
    if not (CACHE / ".complete").exists():
        if not shutil.which("mvn"):
            pytest.skip("no Apache Kafka: mvn is not installed")
        command = ["mvn", "-q", "-B", "-f", str(ROOT / "tests" / "kafka" / "pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={CACHE}"]
        try:
            run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            pytest.skip("no Apache Kafka: its jars did not come in time")
        if run.returncode:
            pytest.skip("no Apache Kafka: " + (run.stdout + run.stderr)[-300:])
        (CACHE / ".complete").touch()
    return CACHE


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Apache Kafka, one node, on loopback."""

    def __init__(self, folder):
        self.jars = jars()
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        port, control = free_port(), free_port()
        self.brokers = f"127.0.0.1:{port}"
        self.properties = self.folder / "server.properties"
        self.properties.write_text(
            "process.roles=broker,controller\nnode.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{control}\ncontroller.listener.names=CONTROLLER\n"
            f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}\n"
            f"advertised.listeners=PLAINTEXT://{self.brokers}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
            f"log.dirs={self.folder}/logs\nnum.partitions=3\noffsets.topic.replication.factor=1\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
        )
        self.log = self.folder / "broker.log"
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(self.properties)), check=True, capture_output=True, timeout=120)
        self.process = None

    def java(self, *arguments):
        return ["java", "-Xmx400m", "-cp", f"{self.jars}/*", *arguments]

    def start(self):
        self.process = subprocess.Popen(self.java("kafka.Kafka", str(self.properties)), stdout=self.log.open("ab"), stderr=subprocess.STDOUT, cwd=self.folder)
        host, port = self.brokers.split(":")
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()[-3000:]
                time.sleep(0.2)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def peek(self, topic):
        run = subprocess.run([str(TOOL), "peek", self.brokers, topic], capture_output=True, text=True, timeout=120)
        return rows_of(run.stdout.splitlines()) if run.returncode == 0 else []

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
