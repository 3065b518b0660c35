"""The oracle of the durability tests: clients that write down what they sent and what was confirmed, and the check
afterwards. lost = confirmed but not in the profile; doubled = counted more than once."""

import http.client
import json
import random
import threading
import uuid

from cdpd import WRITE_KEY, basic


class Ledger:
    def __init__(self, users=5, tag=None, padding=0):
        self.padding = "x" * padding
        self.tag = tag or uuid.uuid4().hex[:8]
        self.users = [f"{self.tag}-user-{n}" for n in range(users)]
        self.sent = {user: set() for user in self.users}
        self.confirmed = {user: set() for user in self.users}
        self.refused = {}
        self.lock = threading.Lock()
        self.threads = []
        self.stopping = threading.Event()

    def message(self, rng, thread, number):
        user = rng.choice(self.users)
        return user, {"type": "track", "userId": user, "event": "Step", "messageId": f"{self.tag}-{thread}-{number}", "properties": {"n": 1, "padding": self.padding}}

    def client(self, address, thread, limit, batch):
        rng = random.Random(f"{self.tag}{thread}")
        connection = http.client.HTTPConnection(*address, timeout=30)
        headers = {"Authorization": basic(WRITE_KEY)}
        for number in range(limit):
            if self.stopping.is_set():
                return
            pairs = [self.message(rng, thread, f"{number}-{k}") for k in range(batch)]
            with self.lock:
                for user, message in pairs:
                    self.sent[user].add(message["messageId"])
            try:
                connection.request("POST", "/v1/batch", json.dumps({"batch": [m for _, m in pairs]}), headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException):
                return  # the daemon died: neither yes nor no
            with self.lock:
                if response.status == 200:
                    for user, message in pairs:
                        self.confirmed[user].add(message["messageId"])
                else:
                    self.refused[response.status] = self.refused.get(response.status, 0) + 1

    def load(self, daemon, clients=4, limit=10**9, batch=3):
        self.threads = [threading.Thread(target=self.client, args=(daemon.address(), n, limit, batch), daemon=True) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def join(self, timeout=60):
        for thread in self.threads:
            thread.join(timeout)
            assert not thread.is_alive(), "a client hangs"

    def stop(self):
        self.stopping.set()
        self.join()

    def total_confirmed(self):
        return sum(len(ids) for ids in self.confirmed.values())

    def check(self, daemon):
        """Asserts lost = doubled = 0 against a running daemon."""
        daemon.settled()
        for user in self.users:
            found = [e["messageId"] for e in daemon.events(f"user_id:{user}")] if self.sent[user] and daemon.profile(f"user_id:{user}").status == 200 else []
            lost = self.confirmed[user] - set(found)
            assert not lost, f"confirmed but lost: {sorted(lost)[:5]} of {len(lost)}"
            assert len(found) == len(set(found)), "listed twice"
            assert set(found) <= self.sent[user], "made up"
            if found:
                counted = daemon.profile(f"user_id:{user}").json["features"]["events"]
                assert counted == len(found), f"{counted} counted, {len(found)} distinct"
