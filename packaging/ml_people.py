#!/usr/bin/env python3
"""Plays eight weeks of a small shop into cdpd: 400 people who look around, put things into the cart, and some of whom buy. Whoever is
keener looks at more, puts more into the cart and buys more often: that is what a model can learn. The same days every time: cdpd knows each messageId."""

import base64
import datetime
import http.client
import json
import random
import sys
import urllib.parse

PEOPLE, DAYS, BATCH = 400, 56, 500
PRICES = [4.5, 6.25, 12.0, 27.5, 49.9, 120.0]


class Shop:
    def __init__(self, first_day):
        self.first_day = first_day
        self.random = random.Random(7)
        self.events = []

    def add(self, who, when, name, **properties):
        event = {"type": "page" if name == "page" else "track", "userId": f"shopper-{who}", "properties": properties}
        event["messageId"] = f"ml-{self.first_day.date()}-{len(self.events)}"
        event["timestamp"] = when.isoformat().replace("+00:00", "Z")
        if name != "page":
            event["event"] = name
        self.events.append((when, event))

    def visit(self, who, keenness, when):
        dice, total = self.random, 0.0
        self.add(who, when, "page", path="/")
        for _ in range(1 + int(dice.random() * (1 + 4 * keenness))):
            when += datetime.timedelta(minutes=1)
            price = dice.choice(PRICES)
            self.add(who, when, "Product Viewed", price=price)
            if dice.random() < 0.05 + 0.5 * keenness:
                when += datetime.timedelta(minutes=1)
                self.add(who, when, "Product Added", price=price)
                total += price
        if total and dice.random() < 0.1 + 0.6 * keenness:
            self.add(who, when + datetime.timedelta(minutes=2), "Order Completed", total=round(total, 2))

    def play(self):
        for who in range(1, PEOPLE + 1):
            keenness = self.random.random() ** 2
            joined = self.random.randrange(DAYS * 2 // 3)
            for day in range(joined, DAYS):
                if self.random.random() < 0.12 + 0.15 * keenness:
                    minute = self.random.randrange(8 * 60, 22 * 60)
                    self.visit(who, keenness, self.first_day + datetime.timedelta(days=day, minutes=minute))
        return [event for _, event in sorted(self.events, key=lambda pair: pair[0])]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: ml_people.py URL")
    parts = urllib.parse.urlsplit(sys.argv[1])
    today = datetime.datetime.now(datetime.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    events = Shop(today - datetime.timedelta(days=DAYS)).play()
    headers = {"Authorization": "Basic " + base64.b64encode(b"demo-server-key:").decode(), "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    for at in range(0, len(events), BATCH):
        connection.request("POST", "/v1/batch", json.dumps({"batch": events[at:at + BATCH]}), headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200 or answer.get("rejected"):
            sys.exit(f"cdpd refused events ({response.status}): {json.dumps(answer)[:500]}")
    print(f"{DAYS} days of a small shop: {len(events)} events of {PEOPLE} people")


if __name__ == "__main__":
    main()
