#!/usr/bin/env python3
"""Plays one day of a small shop and its community into cdpd over HTTP, as a website's SDK would.

Everything is derived from the date, so playing the same day twice changes nothing: cdpd knows each
messageId. Prints a progress bar; exits 1 with the server's own words when an event is refused."""

import base64
import datetime
import http.client
import json
import random
import sys
import time
import urllib.parse

WRITE_KEY, SERVER_KEY = "demo-write-key", "demo-server-key"
PEOPLE = ["anna", "boris", "chen", "dina", "emil", "fatima", "georg", "hana", "ivan", "julia", "karl", "lena"]
# Addresses that are reserved for documentation; conf/demo-geo.csv says in which city each of them is.
ADDRESSES = ["192.0.2.17", "198.51.100.9", "203.0.113.5", "198.51.100.70", "198.51.100.140", "203.0.113.70",
             "198.51.100.65", "203.0.113.6", "2001:db8:2::1f", "192.0.2.81", "192.0.2.200", "203.0.113.200"]
AGENTS = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.6261.64 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:123.0) Gecko/20100101 Firefox/123.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_3) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.3 Safari/605.1.15",
]
REFERRERS = ["https://www.google.com/", "https://duckduckgo.com/?q=green+tea", "https://t.me/tea_lovers", ""]
# What the shop's old till in Seattle remembers: imported, so it gets the weather of then (conf/demo-weather.csv).
VISITS = ["2015-12-07T12:10:00-08:00", "2015-12-21T17:45:00-08:00", "2015-12-26T11:20:00-08:00"]
PRODUCTS = [("G-32", "Board game", 27.5), ("T-07", "Green tea", 6.25), ("C-11", "Cup", 12.0), ("B-90", "Blanket", 49.9)]


class Day:
    """The events of one day, in order, each a dict in Segment's shape."""

    def __init__(self, date):
        self.start = datetime.datetime.combine(date, datetime.time(7), datetime.timezone.utc)
        self.date = date.isoformat()
        self.random = random.Random(self.date)
        self.events = []
        self.answers = []  # of forms: what people told themselves

    def add(self, minute, key, type_, person=None, visitor=None, **fields):
        when = self.start + datetime.timedelta(minutes=minute)
        event = {"type": type_, "messageId": f"day-{self.date}-{key}", "timestamp": when.isoformat().replace("+00:00", "Z")}
        if person:
            event["userId"] = person
        if visitor:
            event["anonymousId"] = visitor
        event.update(fields)
        self.events.append((minute, event))

    def browse(self, minute, who, visitor, pages, where):
        for n in range(pages):
            sku, name, price = self.random.choice(PRODUCTS)
            url = f"https://shop.example/p/{sku}"
            if n == 0:
                url += "?utm_source=newsletter&utm_medium=email&utm_campaign=autumn&gclid=demo"
            page = {"url": url, "path": f"/p/{sku}", "title": name}
            context = {"page": dict(page, referrer=REFERRERS[where % len(REFERRERS)]), "userAgent": AGENTS[where % len(AGENTS)],
                       "ip": ADDRESSES[where % len(ADDRESSES)]}
            self.add(minute + n, f"{who}-page-{n}", "page", visitor=visitor, name="Product", properties=page, context=context)
            self.add(minute + n, f"{who}-view-{n}", "track", visitor=visitor, event="Product Viewed",
                     properties={"sku": sku, "name": name, "price": price}, context=context)

    def order(self, minute, who, number, visitor):
        sku, name, price = self.random.choice(PRODUCTS)
        quantity = self.random.randint(1, 3)
        self.add(minute, f"{who}-order-{number}", "track", person=who, visitor=visitor, event="Order Completed",
                 properties={"order_id": f"{self.date}-{who}-{number}", "total": round(price * quantity, 2), "currency": "EUR",
                             "products": [{"sku": sku, "name": name, "price": price, "quantity": quantity}]})

    def person(self, who, index):
        visitor = f"visitor-{who}"
        minute = index * 11
        self.browse(minute, who, visitor, pages=4 + index % 4, where=index)
        self.add(minute + 15, f"{who}-sign-up", "identify", person=who, visitor=visitor,
                 traits={"email": f"{who}@example.com", "name": who.title(), "plan": "premium" if index % 3 == 0 else "free"})
        self.add(minute + 16, f"{who}-signed-up", "track", person=who, visitor=visitor, event="Signed Up", properties={"method": "email"})
        self.answer("welcome", who, {"adult": "yes", "rules": "nobody", "why": self.random.choice(["tea", "games", "the people"])})
        self.answer("fit", who, {"size": self.random.choice("sml"), "colours": self.random.sample(["black", "white", "blue"], 2)},
                    partial=True, consents={"newsletter": index % 4 != 3})
        for number in range(1, 2 + (index % 3 != 1)):
            self.order(minute + 25 + number * 30, who, number, visitor)
        self.add(minute + 200, f"{who}-mail", "track", person=who, event="Email Opened",
                 properties={"email_id": "autumn-1", "email_subject": "Autumn tea", "campaign_id": "autumn"})
        for n in range(index % 4):
            self.add(minute + 210 + n * 7, f"{who}-chat-{n}", "track", person=who, event="Message Posted",
                     properties={"chat": "tea-lovers", "length": self.random.randint(10, 300)})

    def answer(self, form, who, answers, **more):
        self.answers.append((form, {"userId": who, "responseId": f"day-{self.date}-{who}-{form}", "answers": answers, **more}))

    def visit_store(self, who, number, when):
        event = {"type": "track", "event": "Store Visited", "messageId": f"till-{who}-{number}", "userId": who, "timestamp": when,
                 "properties": {"store": "Seattle"}, "context": {"ip": ADDRESSES[0]}}
        self.events.append((-1, event))

    def play(self):
        for number, when in enumerate(VISITS):
            self.visit_store("anna", number, when)
        for index, who in enumerate(PEOPLE):
            self.person(who, index)
        for index in range(20):
            self.browse(self.random.randint(0, 400), f"passer-{index}", f"visitor-passer-{index}", pages=2, where=index)
        self.events.sort(key=lambda pair: pair[0])
        return [event for _, event in self.events]


class Client:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)

    def post(self, path, body, key=WRITE_KEY):
        headers = {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode(), "Content-Type": "application/json"}
        self.connection.request("POST", path, json.dumps(body), headers)
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200 or answer.get("rejected"):
            sys.exit(f"cdpd refused events ({response.status}): {json.dumps(answer)}")
        return response.getheader("X-Cdpd-Position")


def wait_applied(client, position):
    """A read with min_position waits until the fold has passed the last event; the weather comes a moment later."""
    for _ in range(100):
        client.connection.request("GET", f"/v1/profiles/user_id:anna?min_position={position}", headers={"Authorization": "Bearer demo-read-token"})
        response = client.connection.getresponse()
        profile = response.read()
        if response.status != 200:
            sys.exit(f"the profile cannot be read back ({response.status})")
        if json.loads(profile)["features"].get("visits_in_the_rain"):
            return
        time.sleep(0.1)
    sys.exit("the weather of anna's visits is missing: see the log")


def progress(done, total):
    if sys.stdout.isatty():
        filled = done * 40 // total
        print(f"\ra day of a small shop [{'#' * filled}{'.' * (40 - filled)}] {done}/{total} events", end="", flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: quickstart_day.py URL")
    client = Client(sys.argv[1])
    day = Day(datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1))
    events = day.play()
    position, done = None, 0
    while done < len(events):
        batch = events[done:done + 10]
        if done % 30 == 0:  # some clients send one by one, some in batches
            for event in batch:
                position = client.post("/v1/" + event["type"], event)
        else:
            position = client.post("/v1/batch", {"batch": batch})
        done += len(batch)
        progress(done, len(events))
    for form, response in day.answers:
        position = client.post(f"/v1/forms/{form}/responses", response, SERVER_KEY)
    wait_applied(client, position)
    print(("\r" if sys.stdout.isatty() else "") + f"a day of a small shop: {len(events)} events and {len(day.answers)} answered forms sent, all durable and applied" + " " * 20)


if __name__ == "__main__":
    main()
