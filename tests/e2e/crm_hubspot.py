"""HubSpot's CRM v3 as far as contacts go, from https://developers.hubspot.com/docs/api-reference: batch upsert and update with multi-status answers, merge,
GDPR delete, its errors and limits."""

import uuid

from crm_server import Answer, Clock, Crm

OBJECTS = "/crm/v3/objects/contacts"
TOKEN = "pat-eu1-5ecre7-0000-token"
KNOWN = {"email", "firstname", "lastname", "phone", "lifecyclestage", "orders", "topics", "cdpd_id", "no_marketing", "company"}
LIFECYCLES = {"subscriber", "lead", "customer"}


def error(status, category, message, **more):
    return Answer(status, {"status": "error", "message": message, "correlationId": str(uuid.uuid4()), "category": category, **more})


class HubSpot(Crm):
    def __init__(self, requests=100, seconds=10, multi_status=True):
        self.contacts, self.next_id, self.merged, self.blocked = {}, 51, {}, set()
        self.clock, self.multi_status, self.daily = Clock(requests, seconds), multi_status, False
        super().__init__()

    def handle(self, request):
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found. This API supports OAuth 2.0 authentication.")
        if self.daily:
            raise Answer(429, {"status": "error", "message": "You have reached your daily limit.", "errorType": "RATE_LIMIT", "correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24",
                               "policyName": "DAILY", "requestId": "3d3e35b7-0dae-4b9f-a6e3-9c230cbcf8dd"})
        if not self.clock.lets():
            raise Answer(429, {"status": "error", "message": "You have reached your ten_secondly_rolling limit.", "errorType": "RATE_LIMIT",
                               "correlationId": "c033cdaa-2c40-4a64-ae48-b4cec88dad24", "policyName": "TEN_SECONDLY_ROLLING"})
        if request.method != "POST":
            raise Answer(405, None)
        paths = {"/batch/upsert": self.upsert, "/batch/update": self.update, "/merge": self.merge, "/gdpr-delete": self.erase}
        for path, method in paths.items():
            if request.path == OBJECTS + path:
                return method(request.body)
        raise Answer(404, None)

    # ── contacts ──

    def by(self, name, value):
        return next((one for one in self.contacts.values() if one["properties"].get(name) == value), None)

    def resolve(self, number):
        while number in self.merged:
            number = self.merged[number]
        return self.contacts.get(number)

    def check(self, contact, properties):
        """None, or why these properties cannot be."""
        for name, value in properties.items():
            if not isinstance(value, str):
                return "VALIDATION_ERROR", "Invalid input JSON on line 1, column 1: Cannot deserialize value of type `java.lang.String`"
            if name not in KNOWN:
                return "VALIDATION_ERROR", f'Property values were not valid: [{{"isValid":false,"message":"Property \\"{name}\\" does not exist","error":"PROPERTY_DOESNT_EXIST","name":"{name}"}}]'
        email = properties.get("email")
        if email is not None and "@" not in email:
            return "VALIDATION_ERROR", f'Property values were not valid: [{{"isValid":false,"message":"Email address {email} is invalid","error":"INVALID_EMAIL","name":"email"}}]'
        if properties.get("lifecyclestage", "lead") not in LIFECYCLES:
            return "VALIDATION_ERROR", f'Property values were not valid: [{{"isValid":false,"message":"{properties["lifecyclestage"]} was not one of the allowed options","error":"INVALID_OPTION","name":"lifecyclestage"}}]'
        other = email and self.by("email", email)
        if other and other is not contact:
            return "CONFLICT", f"Contact already exists. Existing ID: {other['id']}"
        return None

    def batch(self, body, find):
        """All or nothing; with a trace id for each input (and multi-status) each on its own."""
        inputs = body["inputs"]
        ids = [one["id"] for one in inputs]
        if len(ids) > 100:
            raise error(400, "VALIDATION_ERROR", "The maximum number of inputs supported in a batch request is 100")
        if len(set(ids)) < len(ids):
            raise error(400, "VALIDATION_ERROR", f"Duplicate IDs found in batch input: {sorted({one for one in ids if ids.count(one) > 1})}. IDs must be unique")
        results, errors = [], []
        for one in inputs:
            try:
                contact = find(one)
                why = self.check(contact, one["properties"])
                if why:
                    raise error(409 if why[0] == "CONFLICT" else 400, *why)
            except Answer as bad:
                if not self.multi_status:
                    raise
                context = {"objectWriteTraceId": [one["objectWriteTraceId"]]} if bad.body["category"] != "OBJECT_NOT_FOUND" else {"ids": [one["id"]]}
                errors.append({"status": "error", "category": bad.body["category"], "message": bad.body["message"], "context": context})
                continue
            results.append((one, contact))
        answers = [self.write(one, contact) for one, contact in results]
        answer = {"status": "COMPLETE", "results": answers, "startedAt": "2026-11-22T10:00:00.000Z", "completedAt": "2026-11-22T10:00:00.100Z"}
        return Answer(207, {**answer, "numErrors": len(errors), "errors": errors}) if errors else Answer(200, answer)

    def write(self, one, contact):
        is_new = contact is None
        if is_new:
            contact = {"id": str(self.next_id), "properties": {}}
            self.next_id += 1
            self.contacts[contact["id"]] = contact
            contact["properties"][one["idProperty"]] = one["id"]
        contact["properties"].update({name: value for name, value in one["properties"].items() if value})
        for name in [name for name, value in one["properties"].items() if not value]:
            contact["properties"].pop(name, None)
        return {"id": contact["id"], "new": is_new, "properties": dict(contact["properties"]), "archived": False, "objectWriteTraceId": one.get("objectWriteTraceId"),
                "createdAt": "2026-11-22T10:00:00.000Z", "updatedAt": "2026-11-22T10:00:00.000Z"}

    def upsert(self, body):
        def find(one):
            if one.get("idProperty") not in ("email", "cdpd_id"):
                raise error(400, "VALIDATION_ERROR", f"Unable to perform update/upsert by non-unique 0-1 property {one.get('idProperty')}.")
            if one["id"] in self.blocked:
                raise error(400, "VALIDATION_ERROR", "Email is blocklisted")
            return self.by(one["idProperty"], one["id"])
        return self.batch(body, find)

    def update(self, body):
        def find(one):
            contact = self.resolve(one["id"])
            if not contact:
                raise error(404, "OBJECT_NOT_FOUND", "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.")
            return contact
        return self.batch(body, find)

    def merge(self, body):
        primary, other = self.contacts.get(body["primaryObjectId"]), self.contacts.get(body["objectIdToMerge"])
        if not primary or not other:
            raise error(404, "OBJECT_NOT_FOUND", "resource not found")
        both = {"id": str(self.next_id), "properties": {**other["properties"], **primary["properties"]}}
        self.next_id += 1
        for one in (primary, other):
            del self.contacts[one["id"]]
            self.merged[one["id"]] = both["id"]
        self.contacts[both["id"]] = both
        return Answer(200, {**both, "archived": False, "createdAt": "2019-10-30T03:30:17.883Z", "updatedAt": "2019-12-07T16:50:06.678Z"})

    def erase(self, body):
        contact = self.contacts.pop(body["objectId"], None)
        if not contact:
            raise error(404, "OBJECT_NOT_FOUND", "resource not found")
        self.blocked.add(contact["properties"].get("email"))
        return Answer(204)

    # ── for the test ──

    def emails(self):
        return sorted(one["properties"].get("email", "") for one in self.contacts.values())

    def put(self, **properties):
        with self.lock:
            contact = {"id": str(self.next_id), "properties": properties}
            self.next_id += 1
            self.contacts[contact["id"]] = contact
            return contact


