"""amoCRM (Kommo), API v4, from https://www.amocrm.ru/developers and https://developers.kommo.com: contacts and leads in lists, the search with its pages,
validation errors by request_id, its limits, and OAuth2 with refresh tokens that are good for one use."""

import re
import time

from crm_server import Answer, Clock, Crm

TOKEN = "eyJ0eXAi-long-lived-token"
CLIENT = {"client_id": "c1ien7-id", "client_secret": "c1ien7-secret-of-the-integration", "redirect_uri": "https://shop.example/amo"}
FIRST_REFRESH = "def50200-first-refresh-token"


def problem(status, title, detail, **more):
    return Answer(status, {"title": title, "type": f"https://httpstatus.es/{status}", "status": status, "detail": detail, **more})


class AmoCrm(Crm):
    def __init__(self, per_second=7, has_oauth2=False):
        self.contacts, self.leads, self.next_id, self.clock = {}, {}, 1001, Clock(per_second, 1)
        self.has_oauth2, self.access, self.refresh, self.refreshed, self.expires_in = has_oauth2, TOKEN, FIRST_REFRESH, 0, 86400
        super().__init__()

    def handle(self, request):
        if request.path == "/oauth2/access_token":
            return self.token(request.body)
        if not self.clock.lets():
            raise problem(429, "Too Many Requests", "Requests limit exceeded")
        if request.headers.get("Authorization") != f"Bearer {self.access}":
            raise problem(401, "Unauthorized", "Authentication failed")
        for path, store, name in (("/api/v4/contacts", self.contacts, "contacts"), ("/api/v4/leads", self.leads, "leads")):
            if request.path == path and request.method == "GET":
                return self.list(request.query, path, store, name)
            if request.path == path and request.method in ("POST", "PATCH"):
                return self.write(request.method, request.body, path, store, name)
        raise problem(404, "Not Found", "Page not found")

    def token(self, body):
        wanted = {**CLIENT, "grant_type": "refresh_token", "refresh_token": self.refresh}
        if not self.has_oauth2 or body != wanted:
            hint = "Token has been revoked" if body.get("refresh_token") != self.refresh else "Check the `client_secret`"
            raise problem(401, "Некорректный запрос", "В запросе отсутствует ряд параметров или параметры невалидны", hint=hint)
        self.refreshed += 1
        self.access, self.refresh = f"access-token-number-{self.refreshed}", f"def50200-refresh-token-number-{self.refreshed}"
        return Answer(200, {"token_type": "Bearer", "expires_in": self.expires_in, "server_time": int(time.time()), "access_token": self.access, "refresh_token": self.refresh})

    # ── lists ──

    def list(self, query, path, store, name):
        found = list(store.values())
        if "filter[id][]" in query:
            found = [store[int(one)] for one in query["filter[id][]"] if int(one) in store]
        if "query" in query:
            text = query["query"][0].lower()
            digits = re.sub(r"\D", "", text)
            found = [one for one in found if text in str(one).lower() or (len(digits) >= 6 and digits in re.sub(r"\D", "", str(one)))]
        limit, page = int(query.get("limit", ["50"])[0]), int(query.get("page", ["1"])[0])
        assert limit <= 250
        shown = found[(page - 1) * limit:page * limit]
        if not shown:
            return Answer(204)
        links = {"self": {"href": f"{self.url}{path}?page={page}"}}
        if page * limit < len(found):
            links["next"] = {"href": f"{self.url}{path}?page={page + 1}&limit={limit}"}
        return Answer(200, {"_page": page, "_links": links, "_embedded": {name: shown}})

    def check(self, method, one, store):
        errors = []
        if method == "PATCH" and int(one.get("id", 0)) not in store:
            errors.append({"code": "NotFound", "path": "id", "detail": "Entity not found"})
        for n, field in enumerate(one.get("custom_fields_values") or []):
            if "field_code" in field and field["field_code"] not in ("EMAIL", "PHONE", "POSITION", "NO_MAIL"):
                errors.append({"code": "NotSupportedChoice", "path": f"custom_fields_values.{n}.field_id", "detail": "The value you selected is not a valid choice."})
            if field.get("field_code") == "EMAIL" and any("@" not in value["value"] for value in field["values"] or []):
                errors.append({"code": "InvalidEmail", "path": f"custom_fields_values.{n}.values.0.value", "detail": "This value is not a valid email address."})
        return errors

    def write(self, method, body, path, store, name):
        assert isinstance(body, list) and 0 < len(body) <= 250
        errors = [{"request_id": str(one.get("request_id", n)), "errors": found} for n, one in enumerate(body) if (found := self.check(method, one, store))]
        if errors:
            raise problem(400, "Bad Request", "Request validation failed", **{"validation-errors": errors})
        written = [self.write_one(one, store, path) for one in body]
        return Answer(200, {"_links": {"self": {"href": self.url + path}}, "_embedded": {name: written}})

    def write_one(self, one, store, path):
        number = one.get("id")
        if not number:
            number, self.next_id = self.next_id, self.next_id + 1
            store[number] = {"id": number, "name": "", "custom_fields_values": None, "_embedded": {"tags": []}}
        entity = store[number]
        for key, value in one.items():
            if key == "custom_fields_values":
                self.write_fields(entity, value)
            elif key == "tags_to_add":
                entity["_embedded"]["tags"] += value
            elif key == "_embedded":
                entity["_embedded"].update(value)
            elif key not in ("id", "request_id"):
                entity[key] = value
        if "first_name" in one and "name" not in one:
            entity["name"] = f"{one['first_name']} {one.get('last_name', '')}".strip()
        return {"id": number, "request_id": str(one.get("request_id")), "_links": {"self": {"href": f"{self.url}{path}/{number}"}}}

    def write_fields(self, entity, fields):
        have = {self.key(one): one for one in entity["custom_fields_values"] or []}
        for field in fields or []:
            if field["values"] is None:
                have.pop(self.key(field), None)
            else:
                have[self.key(field)] = {"field_id": field.get("field_id") or {"EMAIL": 7, "PHONE": 8, "POSITION": 9, "NO_MAIL": 10}[field["field_code"]],
                                         "field_code": field.get("field_code") or {7: "EMAIL", 8: "PHONE", 9: "POSITION", 10: "NO_MAIL"}.get(field["field_id"]), "values": field["values"]}
        entity["custom_fields_values"] = list(have.values()) or None

    @staticmethod
    def key(field):
        return field.get("field_id") or {"EMAIL": 7, "PHONE": 8, "POSITION": 9, "NO_MAIL": 10}.get(field.get("field_code"))

    # ── for the test ──

    def put(self, **contact):
        with self.lock:
            return self.contacts[self.write_one(contact, self.contacts, "/api/v4/contacts")["id"]]

    def emails(self, contact=None):
        contacts = [contact] if contact else self.contacts.values()
        return sorted(value["value"] for one in contacts for field in one["custom_fields_values"] or [] if field["field_code"] == "EMAIL" for value in field["values"])
