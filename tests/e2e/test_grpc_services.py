"""EventService and ProfileService with python3-grpcio: what is written is read back, refusals carry their details, and the
two faces say the same."""

import json

import pytest
from cdpd import READ_TOKEN, SERVER_KEY, WRITE_KEY, running

grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed: tests/run.sh does it")
from rpc import M, bearer, client, details, enum, event, key, message  # noqa: E402


@pytest.fixture
def rpc(cdpd):
    with client(cdpd) as made:
        yield made


def failure(call, *arguments, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **fields)
    return caught.value.code(), *details(caught.value)


INVALID = grpc.StatusCode.INVALID_ARGUMENT


# ── publish ──────────────────────────────────────────────────────────────────


def test_what_was_published_is_read(cdpd, rpc):
    answer = rpc.Publish(events=[event("u", "Order Completed", "m-1", properties=b'{"total":3.5}'), event("u", "Seen", "m-2")])
    assert answer.accepted == 2 and not answer.rejected and answer.position
    profile = rpc.GetProfile(ref="user_id:u", min_position=answer.position).profile
    assert [(i.namespace, i.value, i.events) for i in profile.identifiers] == [("user_id", "u", 2)]
    features = {feature.name: json.loads(feature.value) for feature in profile.features}
    assert features["orders"] == 1 and features["revenue"] == 3.5
    over_http = cdpd.profile("user_id:u").json
    assert over_http["id"] == profile.id and over_http["features"]["revenue"] == 3.5


def test_a_person_token_opens_nothing():
    from test_consent import CONSENT, link

    with running(extra=CONSENT) as cdpd, client(cdpd) as rpc:
        cdpd.track("u", "Seen", "m-1")
        cdpd.settled()
        token = link(cdpd, purpose="preferences", person="user_id:u", target="https://shop.example/prefs")["token"]
        for call in (
            lambda **how: rpc.GetProfile(ref="user_id:u", **how),
            lambda **how: rpc.ListEvents(ref="user_id:u", **how),
            lambda **how: rpc.EraseProfile(ref="user_id:u", **how),
            lambda **how: rpc.Publish(events=[event("u", "Seen", "m-2")], **how),
        ):
            assert failure(call, metadata=bearer(token))[0] in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
        assert cdpd.settled()["events"]["applied"] == 1


def test_a_bad_event_does_not_cost_its_neighbours(rpc):
    answer = rpc.Publish(events=[event("u", "A", "m-1"), event("", "B", "m-2"), event("u", "", "m-3"), event("u", "D", properties=b"{nope")])
    assert answer.accepted == 1
    assert [(r.index, r.message_id, r.code, r.pointer) for r in answer.rejected] == [
        (1, "m-2", "missing_identity", "/userId"),
        (2, "m-3", "schema_violation", "/event"),
        (3, "", "invalid_json", "/properties"),
    ]


def test_very_many_rejections_are_told(rpc):
    answer = rpc.Publish(events=[event("", "B") for _ in range(4000)])
    assert answer.accepted == 0 and len(answer.rejected) == 4000


def test_the_same_message_counts_once_whichever_face_brought_it(cdpd, rpc):
    rpc.Publish(events=[event("u", "A", "same")])
    rpc.Publish(events=[event("u", "A", "same")])
    cdpd.settled()
    assert cdpd.profile("user_id:u").json["features"]["events"] == 1


def test_keys_are_looked_for_as_over_http(rpc):
    one = M.PublishRequest(events=[event("u", "A")])
    named = M.PublishRequest(events=[event("u", "A")], write_key=WRITE_KEY)
    assert rpc.Publish(one, metadata=key(WRITE_KEY)).accepted == 1
    assert rpc.Publish(one, metadata=bearer(WRITE_KEY)).accepted == 1
    assert rpc.Publish(one, metadata=[("x-write-key", WRITE_KEY)]).accepted == 1
    assert rpc.Publish(named, metadata=[]).accepted == 1
    unauthenticated = (grpc.StatusCode.UNAUTHENTICATED, "unknown_key", [])
    assert failure(rpc.Publish, one, metadata=[]) == unauthenticated
    assert failure(rpc.Publish, one, metadata=key("wrong")) == unauthenticated
    assert failure(rpc.Publish, M.PublishRequest(events=[event("u", "A")], write_key="wrong"), metadata=[]) == unauthenticated


def test_rate_limits_hold_here_too():
    with running(extra="limits: {{events_per_second_per_ip: 5}}\n") as cdpd, client(cdpd) as rpc:
        codes = set()
        for _ in range(40):
            try:
                rpc.Publish(events=[event("u", "A")])
            except grpc.RpcError as error:
                codes.add((error.code(), details(error)[0]))
        assert codes == {(grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")}


# ── reading ──────────────────────────────────────────────────────────────────


def test_parts_and_values_that_lost(rpc):
    rpc.Publish(events=[M.Event(type=2, user_id="u", traits=b'{"plan":"free"}')], metadata=key(SERVER_KEY))
    position = rpc.SetTraits(ref="user_id:u", traits=b'{"plan":"gold","risk":0.5}', provenance=enum("Provenance", "PROVENANCE_INFERRED"), source="model").position
    profile = rpc.GetProfile(ref="user_id:u", min_position=position, parts=[enum("ProfilePart", "PROFILE_PART_TRAITS_WITH_OTHERS")]).profile
    assert not profile.features and not profile.identifiers
    traits = {trait.name: trait for trait in profile.traits}
    assert (traits["plan"].winner.value, traits["plan"].winner.provenance) == (b'"free"', enum("Provenance", "PROVENANCE_OBSERVED"))
    assert [(other.value, other.source) for other in traits["plan"].others] == [(b'"gold"', "model")]
    assert (traits["risk"].winner.value, traits["risk"].winner.provenance, traits["risk"].winner.source) == (b"0.5", enum("Provenance", "PROVENANCE_INFERRED"), "model")
    assert failure(rpc.GetProfile, ref="user_id:u", parts=[17]) == (INVALID, "invalid_parameter", ["/parts"])


def test_lookup(rpc):
    position = rpc.Publish(events=[event("a", "A"), event("b", "B")]).position
    found = rpc.LookupProfiles(refs=["user_id:b", "user_id:nobody", "user_id:a", "rubbish"], min_position=position)
    assert [(row.ref, row.code, row.HasField("profile")) for row in found.profiles] == [
        ("user_id:b", "", True),
        ("user_id:nobody", "not_found", False),
        ("user_id:a", "", True),
        ("rubbish", "invalid_parameter", False),
    ]
    assert found.position
    assert len(rpc.LookupProfiles(refs=["user_id:a"] * 100).profiles) == 100
    assert failure(rpc.LookupProfiles, refs=["user_id:a"] * 101) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_large", ["/refs"])
    assert not rpc.LookupProfiles().profiles


def test_events_come_in_pages(cdpd, rpc):
    position = rpc.Publish(events=[event("u", f"E{i % 3}", f"m-{i}") for i in range(25)]).position
    seen, cursor, pages = [], "", 0
    while True:
        page = rpc.ListEvents(ref="user_id:u", limit=10, cursor=cursor, min_position=position)
        seen += [json.loads(row.json) for row in page.events]
        pages += 1
        cursor = page.next
        if not cursor:
            break
    assert pages == 3 and [row["messageId"] for row in seen] == [f"m-{i}" for i in reversed(range(25))]
    assert seen == cdpd.events("user_id:u")
    assert [json.loads(row.json)["messageId"] for row in rpc.ListEvents(ref="user_id:u", event="E1", limit=2).events] == ["m-22", "m-19"]
    assert not rpc.ListEvents(ref="user_id:u", type="page").events
    assert failure(rpc.ListEvents, ref="user_id:u", limit=501) == (INVALID, "invalid_parameter", ["/limit"])
    assert failure(rpc.ListEvents, ref="user_id:u", type="dance") == (INVALID, "invalid_parameter", ["/type"])
    assert failure(rpc.ListEvents, ref="user_id:u", cursor="x") == (INVALID, "invalid_parameter", ["/cursor"])
    assert failure(rpc.ListEvents, ref="user_id:u", cursor=position) == (INVALID, "invalid_parameter", ["/cursor"])
    assert failure(rpc.ListEvents, ref="user_id:nobody")[:2] == (grpc.StatusCode.NOT_FOUND, "not_found")


def test_a_page_stays_below_what_clients_take(rpc):
    for start in range(0, 120, 10):
        rpc.Publish(events=[event("u", "Large", f"m-{start + i}", properties=json.dumps({"x": "y" * 60000}).encode()) for i in range(10)])
    position = rpc.Publish(events=[event("u", "Last")]).position
    seen, cursor = 0, ""
    while True:
        page = rpc.ListEvents(ref="user_id:u", limit=500, cursor=cursor, min_position=position)
        seen += len(page.events)
        cursor = page.next
        if not cursor:
            break
    assert seen == 121


def test_positions(rpc):
    position = rpc.Publish(events=[event("u", "A")]).position
    assert failure(rpc.GetProfile, ref="user_id:u", min_position="rubbish") == (INVALID, "invalid_parameter", ["/minPosition"])
    cursor = rpc.ListEvents(ref="user_id:u", limit=1, min_position=position).next
    assert not cursor or failure(rpc.GetProfile, ref="user_id:u", min_position=cursor)[1] == "invalid_parameter"
    with running() as other, client(other) as elsewhere:
        assert failure(elsewhere.GetProfile, ref="user_id:u", min_position=position)[:2] == (grpc.StatusCode.OUT_OF_RANGE, "gone")


def test_references(rpc):
    assert failure(rpc.GetProfile, ref="user_id:nobody") == (grpc.StatusCode.NOT_FOUND, "not_found", ["/ref"])
    assert failure(rpc.GetProfile, ref="rubbish") == (INVALID, "invalid_parameter", ["/ref"])
    assert failure(rpc.GetProfile) == (INVALID, "invalid_parameter", ["/ref"])


def test_set_traits_refuses_what_http_refuses(rpc):
    assert failure(rpc.SetTraits, ref="user_id:u", traits=b"{}") == (INVALID, "schema_violation", ["/traits"])
    assert failure(rpc.SetTraits, ref="user_id:u", traits=b"{") == (INVALID, "invalid_json", ["/traits"])
    assert failure(rpc.SetTraits, ref="user_id:u") == (INVALID, "invalid_json", ["/traits"])
    assert failure(rpc.SetTraits, ref="user_id:u", traits=b'{"a":1}', provenance=9) == (INVALID, "schema_violation", ["/provenance"])
    assert failure(rpc.SetTraits, ref="user_id:u", traits=b'{"a":1}', source="a b") == (INVALID, "schema_violation", ["/source"])
    assert failure(rpc.SetTraits, ref="shoe:42", traits=b'{"a":1}') == (INVALID, "invalid_identifier", ["/ref"])
    assert failure(rpc.SetTraits, ref="user_id:u", traits=b'{"a":1}', timestamp_us=-5) == (INVALID, "bad_timestamp", ["/timestamp"])


def test_scores_of_many(rpc):
    known = rpc.GetProfile(ref="user_id:a", min_position=rpc.Publish(events=[event("a", "A")]).position).profile.id
    Item, model = message("SetTraitsOfManyRequest.Item"), M.Model(name="churn", version="7")
    items = [Item(ref="user_id:b", traits=b'{"churn":0.5}'), Item(ref=f"id:{known}", traits=b'{"churn":0.75}', timestamp_us=10**15)]
    wrong = [Item(ref="id:" + "0" * 32, traits=b'{"a":1}'), Item(ref="user_id:x"), Item(ref="user_id:x", traits=b"{"), Item(traits=b'{"a":1}')]
    inferred = enum("Provenance", "PROVENANCE_INFERRED")
    answer = rpc.SetTraitsOfMany(items=items + wrong, provenance=inferred, model=model, source="nightly")
    assert answer.accepted == 2
    assert [(row.index, row.code, row.pointer) for row in answer.rejected] == [
        (2, "not_found", "/ref"),
        (3, "schema_violation", "/traits"),
        (4, "invalid_json", "/traits"),
        (5, "invalid_identifier", "/ref"),
    ]
    for ref, value in (("user_id:b", b"0.5"), (f"id:{known}", b"0.75")):
        (score,) = rpc.GetProfile(ref=ref, min_position=answer.position).profile.traits
        assert (score.winner.value, score.winner.source, score.winner.provenance) == (value, "nightly", inferred)
        assert (score.winner.model.name, score.winner.model.version) == ("churn", "7")
    assert score.winner.model.scored_at_us == 10**15
    assert not rpc.GetProfile(ref="user_id:a").profile.traits[0].winner.HasField("origin")
    one = rpc.SetTraits(ref="user_id:b", traits=b'{"churn":1}', provenance=inferred, model=M.Model(name="other")).position
    assert rpc.GetProfile(ref="user_id:b", min_position=one).profile.traits[0].winner.model.name == "other"
    assert failure(rpc.SetTraitsOfMany) == (INVALID, "schema_violation", ["/items"])
    assert failure(rpc.SetTraitsOfMany, items=items, model=model) == (INVALID, "schema_violation", ["/model"])
    assert failure(rpc.SetTraits, ref="user_id:b", traits=b'{"a":1}', provenance=inferred, model=M.Model()) == (INVALID, "schema_violation", ["/model/name"])


# ── joining ──────────────────────────────────────────────────────────────────


def status(name):
    return enum("ActStatus", f"ACT_STATUS_{name}")


def test_merge_and_unmerge(rpc):
    position = rpc.Publish(events=[M.Event(type=2, user_id="u", traits=b'{"plan":"a"}'), M.Event(type=2, anonymous_id="x", traits=b'{"plan":"b"}')]).position
    ids = {"a": "user_id:u", "b": "anonymous_id:x"}
    dry = rpc.MergeProfiles(**ids, dry_run=True, min_position=position)
    assert dry.status == status("DRY_RUN") and dry.preview.allowed and not dry.preview.already_one
    assert list(dry.preview.identifiers) == ["user_id:u", "anonymous_id:x"]
    assert [(c.trait, {c.winner, c.loser}) for c in dry.preview.conflicts] == [("plan", {b'"a"', b'"b"'})]
    assert rpc.GetProfile(ref="user_id:u").profile.id != rpc.GetProfile(ref="anonymous_id:x").profile.id

    merged = rpc.MergeProfiles(**ids, reason="the same phone")
    assert (merged.status, merged.a, merged.b) == (status("MERGED"), "user_id:u", "anonymous_id:x") and merged.position
    profile = rpc.GetProfile(ref="anonymous_id:x", min_position=merged.position).profile
    assert profile.id == merged.id and len(profile.identifiers) == 2
    assert rpc.MergeProfiles(**ids).status == status("ALREADY_ONE")

    dry = rpc.UnmergeProfiles(**ids, dry_run=True)
    assert dry.status == status("DRY_RUN") and dry.preview.allowed and len(dry.preview.cut) >= 1
    assert sorted(sum((list(group.identifiers) for group in dry.preview.profiles), [])) == ["anonymous_id:x", "user_id:u"]
    parted = rpc.UnmergeProfiles(**ids, reason="two siblings")
    assert parted.status == status("UNMERGED") and parted.profile_a != parted.profile_b
    assert failure(rpc.UnmergeProfiles, **ids) == (grpc.StatusCode.FAILED_PRECONDITION, "not_joined", [])


def test_merges_that_are_refused(cdpd, rpc):
    position = rpc.Publish(events=[event("u", "A"), event("v", "B")]).position
    assert failure(rpc.MergeProfiles, a="user_id:u", b="user_id:v", min_position=position)[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "unique_conflict")
    assert failure(rpc.MergeProfiles, a="user_id:u", b="user_id:nobody") == (grpc.StatusCode.NOT_FOUND, "not_found", ["/b"])
    assert failure(rpc.MergeProfiles, a="", b="user_id:u") == (INVALID, "schema_violation", ["/a"])
    assert failure(rpc.MergeProfiles, a="user_id:u", b="user_id:u") == (INVALID, "invalid_parameter", ["/b"])
    assert failure(rpc.MergeProfiles, a="user_id:u", b="user_id:v", reason="x" * 501) == (INVALID, "schema_violation", ["/reason"])
    dry = rpc.MergeProfiles(a="user_id:u", b="user_id:v", dry_run=True)
    assert not dry.preview.allowed and dry.preview.reason == "unique_conflict" and len(dry.preview.limits) >= 1
    history = cdpd.get("/v1/profiles/user_id:u/history").json["links"]
    assert [(row["rule"], row["linked"], row["actor"]) for row in history] == [("merge", False, "admin")]


# ── erasing ──────────────────────────────────────────────────────────────────


def test_erasure_gives_a_receipt(cdpd, rpc):
    position = rpc.Publish(events=[M.Event(type=1, user_id="u", anonymous_id="x", event="A")]).position
    rpc.GetProfile(ref="user_id:u", min_position=position)
    dry = rpc.EraseProfile(ref="user_id:u", dry_run=True)
    assert not dry.HasField("receipt") and dry.preview.fragments == 2 and dry.preview.events >= 1
    assert sorted(dry.preview.identifiers) == ["anonymous_id:x", "user_id:u"]
    assert list(rpc.EraseProfile(ref="anonymous_id:x", scope=enum("ErasureScope", "ERASURE_SCOPE_IDENTIFIER"), dry_run=True).preview.identifiers) == ["anonymous_id:x"]
    receipt = rpc.EraseProfile(ref="user_id:u", reason="asked by mail").receipt
    assert receipt.scope == enum("ErasureScope", "ERASURE_SCOPE_PROFILE") and len(receipt.fragments) == 2
    assert rpc.EraseProfile(ref="user_id:u").receipt.id == receipt.id
    told = cdpd.get(f"/v1/erasures/{receipt.id}").json
    assert told["reason"] == "asked by mail" and told["actor"] == "admin"
    if receipt.position:
        assert failure(rpc.GetProfile, ref="user_id:u", min_position=receipt.position)[1] == "not_found"
    assert failure(rpc.EraseProfile, ref="user_id:nobody")[1] == "not_found"
    assert failure(rpc.EraseProfile, ref="user_id:u", scope=7) == (INVALID, "invalid_parameter", ["/scope"])
    assert failure(rpc.EraseProfile, ref="user_id:u", reason="x" * 301) == (INVALID, "invalid_parameter", ["/reason"])


# ── who may ──────────────────────────────────────────────────────────────────

SCOPES = ["profiles:read", "changes:read", "traits:write", "merge", "export", "erase", "links", "admin"]
NEEDS = {
    "GetProfile": "profiles:read",
    "LookupProfiles": "profiles:read",
    "ListEvents": "profiles:read",
    "SetTraits": "traits:write",
    "SetTraitsOfMany": "traits:write",
    "MergeProfiles": "merge",
    "UnmergeProfiles": "merge",
    "EraseProfile": "erase",
}


def test_every_method_against_every_scope(tmp_path):
    from cdpd import Daemon

    daemon = Daemon(tmp_path)
    rows = "\n".join(f'  - {{name: t{i}, token: secret-token-{i}, scopes: ["{scope}"]}}' for i, scope in enumerate(SCOPES))
    late = '  - {name: late, token: expired-token, scopes: ["profiles:read", "traits:write", merge, erase], expires: 2020-01-01T00:00:00Z}'
    (tmp_path / "tokens.yaml").write_text(f"tokens:\n{rows}\n{late}\n")
    daemon.start()
    try:
        with client(daemon) as rpc:
            import rpc as module

            methods = {method.name for service in module.services() if service.name == "ProfileService" for method in service.methods}
            assert methods == set(NEEDS), "a method without its scope here"
            for name, needed in NEEDS.items():
                call = getattr(rpc, name)
                for i, scope in enumerate(SCOPES):
                    if scope == needed:
                        if name == "LookupProfiles":
                            call(metadata=bearer(f"secret-token-{i}"))
                        else:
                            assert failure(call, metadata=bearer(f"secret-token-{i}"))[0] == INVALID
                    else:
                        assert failure(call, metadata=bearer(f"secret-token-{i}"))[:2] == (grpc.StatusCode.PERMISSION_DENIED, "forbidden"), (name, scope)
                refused = (grpc.StatusCode.UNAUTHENTICATED, "unauthorized")
                for metadata in ([], bearer("unknown"), bearer("expired-token"), key(WRITE_KEY), bearer(WRITE_KEY)):
                    assert failure(call, metadata=metadata)[:2] == refused, (name, metadata)
            # A token is no write key, whatever its scopes.
            for i in range(len(SCOPES)):
                one = M.PublishRequest(events=[event("u", "A")])
                unknown = (grpc.StatusCode.UNAUTHENTICATED, "unknown_key")
                assert failure(rpc.Publish, one, metadata=bearer(f"secret-token-{i}"))[:2] == unknown
                assert failure(lambda: list(rpc.PublishStream(iter([one]), metadata=bearer(f"secret-token-{i}"))))[:2] == unknown
    finally:
        assert daemon.stop() == 0


def test_the_reader_may_read_and_no_more(rpc):
    rpc.Publish(events=[event("u", "A")])
    assert failure(rpc.SetTraits, ref="user_id:u", traits=b'{"a":1}', metadata=bearer(READ_TOKEN))[1] == "forbidden"


# ── hostile bytes ────────────────────────────────────────────────────────────


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def nested(depth):
    data = b""
    for _ in range(depth):
        data = b"\x0a" + varint(len(data)) + data
    return data


HOSTILE = {
    "invalid utf-8": b"\x0a\x02\xff\xfe",
    "nul": b"\x0a\x0buser_id:a\x00b",
    "lying length": b"\x0a\x7fabc",
    "huge length": b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc",
    "endless varint": b"\x18" + b"\xff" * 20,
    "cut tag": b"\x80",
    "field zero": b"\x00\x01",
    "wrong wire type": b"\x08\x01",
    "group": b"\x0b\x0c",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_and_the_others_live(rpc, name):
    position = rpc.Publish(events=[event("u", "A")]).position
    stream = rpc.PublishStream(iter_slowly(M.PublishRequest(events=[event("u", "B")]), 3))
    for call in (rpc.GetProfile, rpc.LookupProfiles, rpc.ListEvents, rpc.SetTraits, rpc.MergeProfiles, rpc.EraseProfile):
        code = failure(call, HOSTILE[name])[0]
        assert code == INVALID, (name, call)
    assert rpc.GetProfile(ref="user_id:u", min_position=position).profile.id
    assert list(stream)[-1].settled_through == 3


def iter_slowly(request, count):
    import time

    for _ in range(count):
        yield request
        time.sleep(0.05)


def test_nesting_goes_nowhere(rpc):
    deep = nested(30000)
    assert failure(rpc.GetProfile, deep)[0] in (INVALID, grpc.StatusCode.NOT_FOUND)
    answer = rpc.Publish(deep)
    assert answer.accepted == 0 and len(answer.rejected) == 1
    answer = rpc.Publish(events=[event("u", "A")])
    assert answer.accepted == 1


def test_hostile_publish(rpc):
    assert failure(rpc.Publish, b"\x0a\x7fabc")[:2] == (INVALID, "invalid_body")
    answer = rpc.Publish(b"\x0a\x04\x1a\x02\xff\xfe" + M.PublishRequest(events=[event("u", "fine")]).SerializeToString())
    assert answer.accepted == 1 and [(r.index, r.code, r.pointer) for r in answer.rejected] == [(0, "schema_violation", "/userId")]
    answer = rpc.Publish(events=[event("a\0b", "A")])
    assert [(r.code, r.pointer) for r in answer.rejected] == [("invalid_identifier", "/userId")]


def test_stopping_in_full_flight_is_clean(cdpd):
    """Calls of every kind are under way when the daemon stops: it ends well, and under the address sanitizer without leaks."""
    import threading

    stopping = threading.Event()

    def hammer(number):
        with client(cdpd, **{"grpc.use_local_subchannel_pool": 1}) as rpc:
            for i in range(10**6):
                try:
                    position = rpc.Publish(events=[event(f"u{number}", "A"), M.Event(type=1, anonymous_id=f"x{number}-{i}", event="B")]).position
                    rpc.SetTraits(ref=f"user_id:u{number}", traits=b'{"a":1}')
                    rpc.MergeProfiles(a=f"user_id:u{number}", b=f"anonymous_id:x{number}-{i}", min_position=position)
                    rpc.ListEvents(ref=f"user_id:u{number}", limit=500)
                    rpc.LookupProfiles(refs=[f"user_id:u{n}" for n in range(8)])
                except grpc.RpcError as error:
                    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) or stopping.is_set():
                        return
                    if details(error)[0] not in ("too_many_fragments", "namespace_limit", "too_many_acts"):
                        raise

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while cdpd.status()["events"]["applied"] < 300:
        pass
    stopping.set()
    assert cdpd.stop() == 0
    for thread in threads:
        thread.join()
    assert "Sanitizer" not in cdpd.log_text()
