"""Weather in the real daemon: from an archive without a network, and from a provider that is faked from its documentation."""

import http.server
import json
import threading
import time
import urllib.parse

import pytest
from cdpd import CONFIG, ROOT

SEATTLE = {"location": {"latitude": 47.6062, "longitude": -122.3321}}
FEATURES = """\
features:
  - {{name: orders_in_the_rain, type: count, event: Order Completed, where: [{{field: enrichment.weather.group, is: rain}}]}}
"""


class OpenMeteo(http.server.BaseHTTPRequestHandler):
    """Answers /v1/forecast and /v1/archive as Open-Meteo documents them: it rains every hour."""

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.server.status != 200:
            self.send_response(self.server.status)
            if self.server.status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            return
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        start = int(time.mktime(time.strptime(query["start_date"] + " UTC", "%Y-%m-%d %Z")) - time.timezone)
        end = int(time.mktime(time.strptime(query["end_date"] + " UTC", "%Y-%m-%d %Z")) - time.timezone) + 86400
        times = list(range(start, end, 3600))
        hourly = {"time": times, "temperature_2m": [7.5] * len(times), "precipitation": [0.6] * len(times), "weather_code": [61] * len(times),
                  "is_day": [1] * len(times), "wind_speed_10m": [3.5] * len(times)}
        body = json.dumps({"latitude": float(query["latitude"]), "longitude": float(query["longitude"]), "hourly": hourly}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def open_meteo():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OpenMeteo)
    server.requests, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def with_weather(daemon, options, more=""):
    row = f"  - {{{{plugin: weather, options: {{{{{options}}}}}{more}}}}}\n"
    daemon.write_config(CONFIG.replace("features:\n", FEATURES) + row)
    return daemon


def weather(daemon, user):
    answer = daemon.get(f"/v1/profiles/user_id:{user}/events")
    return [event.get("enrichment", {}).get("weather") for event in answer.json["events"]] if answer.status == 200 else []


def wait_for(daemon, what, timeout=60):
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline, daemon.log_text()
        time.sleep(0.05)


def order(daemon, user, time_text, message_id=None, context=SEATTLE):
    return daemon.track(user, "Order Completed", message_id, timestamp=time_text, context=context)


def orders_in_the_rain(daemon, user):
    answer = daemon.get(f"/v1/profiles/user_id:{user}")
    return answer.json["features"].get("orders_in_the_rain") if answer.status == 200 else None


def provider(server):
    return f"provider: open-meteo, url: 'http://127.0.0.1:{server.server_address[1]}'"


ALLOW = ", http: {{allow: [127.0.0.1]}}"


def test_real_weather_of_seattle_from_an_archive(stopped):
    """NOAA's daily observations 2012-2015, as vega-datasets carries them."""
    archive = ROOT / "tests" / "clients" / "node_modules" / "vega-datasets" / "data" / "seattle-weather.csv"
    with_weather(stopped, f"archives: ['{archive} 47.61 -122.33']").start()
    order(stopped, "u1", "2015-12-07T12:00:00-08:00")
    order(stopped, "u1", "2015-07-04T12:00:00-07:00")
    order(stopped, "u1", "2015-12-07T12:00:00-08:00", context={"location": {"latitude": 40.7, "longitude": -74.0}})
    wait_for(stopped, lambda: orders_in_the_rain(stopped, "u1") == 1)
    wait_for(stopped, lambda: len([one for one in weather(stopped, "u1") if one]) == 2)
    rain, sun = sorted((one for one in weather(stopped, "u1") if one), key=lambda one: one["group"] != "rain")
    assert rain["precipitation_mm"] == pytest.approx(27.4) and rain["rained_recently"] is True and rain["is_day"] is True
    assert sun["group"] == "clear" and sun["precipitation_mm"] == 0 and sun["temperature_c"] > 20
    assert stopped.settled()["balanced"]


def test_one_request_for_a_cell_and_hour_also_after_a_restart(stopped, open_meteo):
    with_weather(stopped, provider(open_meteo), ALLOW).start()
    for n in range(200):
        order(stopped, "u1", f"2026-01-05T10:{n % 60:02}:00Z")
    wait_for(stopped, lambda: orders_in_the_rain(stopped, "u1") == 200)
    assert len(open_meteo.requests) == 1 and "/v1/archive?" in open_meteo.requests[0]
    stopped.stop()
    stopped.start()
    order(stopped, "u1", "2026-01-05T10:30:00Z", "after")
    wait_for(stopped, lambda: orders_in_the_rain(stopped, "u1") == 201)
    assert len(open_meteo.requests) == 1, "the cache survives a restart"
    assert weather(stopped, "u1")[0] == {"temperature_c": 7.5, "precipitation_mm": 0.6, "wind_ms": 3.5, "code": 61, "group": "rain", "is_day": True,
                                         "rained_recently": True, "provider": "open-meteo"}


@pytest.mark.parametrize("status", [500, 429])
def test_enrichment_catches_up_when_the_provider_is_back(stopped, open_meteo, status):
    open_meteo.status = status
    with_weather(stopped, provider(open_meteo), ALLOW).start()
    for n in range(30):
        order(stopped, f"u{n}", f"2026-01-05T{n % 24:02}:10:00Z")
    wait_for(stopped, lambda: open_meteo.requests)  # the fault has fired
    stopped.settled()
    assert all(orders_in_the_rain(stopped, f"u{n}") in (0, None) for n in range(30))
    assert stopped.get("/v1/profiles/user_id:u7").json["features"]["orders"] == 1, "what reads no weather counts at once"
    open_meteo.status = 200
    wait_for(stopped, lambda: all(orders_in_the_rain(stopped, f"u{n}") == 1 for n in range(30)), timeout=150)


def test_replay_asks_nobody(stopped, open_meteo):
    with_weather(stopped, provider(open_meteo), ALLOW).start()
    for n in range(10):
        order(stopped, "u1", f"2026-01-05T{n:02}:00:00Z")
    wait_for(stopped, lambda: orders_in_the_rain(stopped, "u1") == 10)
    asked = len(open_meteo.requests)
    stopped.stop()
    for path in (stopped.data / "profiles").iterdir():
        path.unlink()
    open_meteo.status = 500
    stopped.start()
    wait_for(stopped, lambda: orders_in_the_rain(stopped, "u1") == 10)
    assert len(open_meteo.requests) == asked


def test_a_private_address_is_not_asked_unless_allowed(stopped, open_meteo):
    with_weather(stopped, provider(open_meteo)).start()
    order(stopped, "u1", "2026-01-05T10:00:00Z")
    wait_for(stopped, lambda: "weather" in stopped.log_text() or b"cdpd_plugin_weather_deferred_total" in stopped.get("/metrics").body)
    stopped.settled()
    assert open_meteo.requests == []
