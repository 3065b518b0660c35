"""Bitrix24's REST behind an inbound webhook, from https://apidocs.bitrix24.com and https://github.com/bitrix24/b24restdocs: batch, contacts, leads, the search
for duplicates, merging, multi-fields with ids of their own, its errors and its leaky bucket."""

import re
import time
import urllib.parse

from crm_server import Answer, Crm

SECRET = "x7k2abc9def0ghij"
LISTS = ("EMAIL", "PHONE", "WEB", "IM")


class Failure(Exception):
    def __init__(self, error, description):
        super().__init__(description)
        self.body = {"error": error, "error_description": description}


def parse(query):
    """As PHP reads a query: a[b][0]=c."""
    root = {}
    for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        steps = re.findall(r"^([^\[]+)|\[([^\]]*)\]", name)
        at, path = root, [first or rest for first, rest in steps]
        for step in path[:-1]:
            at = at.setdefault(step, {})
        at[path[-1]] = value
    return root


def php(value):
    """PHP writes an empty array as a list."""
    return value or []


class Bitrix24(Crm):
    def __init__(self, per_second=2, burst=50, can_merge=True):
        self.contacts, self.leads, self.next_id, self.next_value = {}, {}, 101, 501
        self.per_second, self.burst, self.level, self.at, self.refused = per_second, burst, 0, time.monotonic(), 0
        self.can_merge, self.conflicts, self.failing = can_merge, False, {}
        super().__init__()

    @property
    def webhook(self):
        return f"{self.url}/rest/1/{SECRET}/"

    def handle(self, request):
        now = time.monotonic()
        self.level, self.at = max(0, self.level - (now - self.at) * self.per_second), now
        if self.level >= self.burst:
            self.refused += 1
            raise Answer(503, {"error": "QUERY_LIMIT_EXCEEDED", "error_description": "Too many requests"})
        self.level += 1
        head, _, method = request.path.rpartition("/")
        if head != f"/rest/1/{SECRET}":
            raise Answer(401, {"error": "INVALID_CREDENTIALS", "error_description": "Invalid request credentials"})
        if method == "batch":
            return self.batch(request.body)
        try:
            return Answer(200, {"result": self.call(method, request.body), "time": {"operating": 0, "operating_reset_at": int(time.time()) + 600}})
        except Failure as failure:
            raise Answer(400, failure.body) from failure

    def batch(self, body):
        commands = body["cmd"]
        assert str(body["halt"]) == "0" and isinstance(commands, dict)
        results, errors, times = {}, {}, {}
        for n, (key, command) in enumerate(commands.items()):
            method, _, query = command.partition("?")
            try:
                if n >= 50:
                    raise Failure("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
                results[key] = self.call(method, parse(query))
                times[key] = {"operating": 0.1, "operating_reset_at": int(time.time()) + 600}
            except Failure as failure:
                errors[key] = failure.body
        return Answer(200, {"result": {"result": php(results), "result_error": php(errors), "result_total": [], "result_next": [], "result_time": php(times)},
                            "time": {"start": 1.0, "finish": 2.0, "duration": 1.0, "operating": 0}})

    def call(self, method, parameters):
        failure = self.failing.get(method)
        if failure:
            raise failure
        methods = {"crm.contact.add": self.add, "crm.contact.update": self.update, "crm.contact.get": self.get, "crm.contact.delete": self.delete,
                   "crm.contact.list": self.list, "crm.duplicate.findbycomm": self.find, "crm.entity.mergeBatch": self.merge, "crm.lead.add": self.add_lead,
                   "crm.lead.update": self.update_lead, "crm.lead.list": self.list_leads}
        if method not in methods:
            raise Failure("ERROR_METHOD_NOT_FOUND", "Method not found!")
        return methods[method](parameters)

    # ── contacts ──

    def write(self, contact, fields):
        for value in (fields.get("EMAIL") or {}).values():
            if value.get("VALUE") and "@" not in value["VALUE"]:
                raise Failure("ERROR_CORE", "Поле «Рабочий e-mail» содержит некорректный адрес")
        for name, value in fields.items():
            if name in LISTS:
                self.write_list(contact.setdefault(name, []), name, value)
            elif isinstance(value, str):
                contact[name] = value

    def write_list(self, values, name, changes):
        for change in changes.values():
            if "ID" not in change:
                values.append({"ID": str(self.next_value), "VALUE": change["VALUE"], "VALUE_TYPE": change.get("VALUE_TYPE", "WORK"), "TYPE_ID": name})
                self.next_value += 1
                continue
            old = next((value for value in values if value["ID"] == str(change["ID"])), None)
            if old is None:
                continue
            if change.get("DELETE") == "Y" or not change.get("VALUE"):
                values.remove(old)
            else:
                old.update({key: change[key] for key in ("VALUE", "VALUE_TYPE") if key in change})

    def one(self, parameters):
        contact = self.contacts.get(int(parameters["id"]))
        if not contact:
            raise Failure("", "Not found")
        return contact

    def add(self, parameters):
        contact = {"ID": str(self.next_id)}
        self.write(contact, parameters.get("fields") or {})
        self.contacts[self.next_id] = contact
        self.next_id += 1
        return int(contact["ID"])

    def update(self, parameters):
        if int(parameters["id"]) not in self.contacts:
            raise Failure("", "Contact is not found")
        self.write(self.one(parameters), parameters.get("fields") or {})
        return True

    def get(self, parameters):
        return self.one(parameters)

    def delete(self, parameters):
        del self.contacts[int(self.one(parameters)["ID"])]
        return True

    def list(self, parameters):
        wanted = parameters["filter"]
        return [{"ID": one["ID"]} for one in self.contacts.values() if all(one.get(name) == value for name, value in wanted.items())]

    def find(self, parameters):
        kind, wanted = parameters["type"], set(parameters["values"].values())

        def core(text):
            return re.sub(r"\D", "", text)[-10:] if kind == "PHONE" else text.lower()
        found = [int(one["ID"]) for one in self.contacts.values() if {core(value["VALUE"]) for value in one.get(kind, [])} & {core(text) for text in wanted}]
        return {"CONTACT": sorted(found)[:20]} if found else []

    def merge(self, parameters):
        ids = [int(one) for one in parameters["params"]["entityIds"]]
        assert parameters["params"]["entityTypeId"] == 3
        if not self.can_merge:
            raise Failure("ERROR_METHOD_NOT_FOUND", "Method not found!")
        if any(one not in self.contacts for one in ids):
            raise Failure("", "The parameter entityIds does not contains valid elements.")
        if self.conflicts:
            return {"STATUS": "CONFLICT", "ENTITY_IDS": []}
        first = self.contacts[ids[0]]
        for other in ids[1:]:
            gone = self.contacts.pop(other)
            for name, value in gone.items():
                if name in LISTS:
                    have = {one["VALUE"] for one in first.get(name, [])}
                    first.setdefault(name, []).extend(one for one in value if one["VALUE"] not in have)
                else:
                    first.setdefault(name, value)
        return {"STATUS": "SUCCESS", "ENTITY_IDS": ids[1:]}

    # ── leads ──

    def add_lead(self, parameters):
        self.leads[self.next_id] = {"ID": str(self.next_id), **parameters["fields"]}
        self.next_id += 1
        return self.next_id - 1

    def update_lead(self, parameters):
        if int(parameters["id"]) not in self.leads:
            raise Failure("", "Not found")
        self.leads[int(parameters["id"])].update(parameters["fields"])
        return True

    def list_leads(self, parameters):
        wanted = parameters["filter"]
        return [{"ID": one["ID"]} for one in self.leads.values() if all(one.get(name) == value for name, value in wanted.items())]

    # ── for the test ──

    def put(self, **fields):
        with self.lock:
            return self.contacts[self.add({"fields": {name: dict(enumerate(value)) if isinstance(value, list) else value for name, value in fields.items()}})]

    def emails(self):
        return sorted(value["VALUE"] for one in self.contacts.values() for value in one.get("EMAIL", []))
