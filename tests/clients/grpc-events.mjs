// node grpc-events.mjs ADDRESS PROTO_DIR WRITE_KEY TOKEN COUNT: @grpc/grpc-js publishes, reads what it wrote, joins, erases, and streams COUNT
// requests, sending again what a broken stream left unsettled. The last line is {"done", "attempts", "errors": [texts]}.
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, protoDir, writeKey, token, count] = process.argv.slice(2);
const definition = loader.loadSync(["cdpd/v1/event_service.proto", "cdpd/v1/profile_service.proto"], {
  includeDirs: [protoDir], keepCase: true, defaults: true, enums: String, longs: Number,
});
const { EventService, ProfileService } = grpc.loadPackageDefinition(definition).cdpd.v1;
const events = new EventService(address, grpc.credentials.createInsecure());
const profiles = new ProfileService(address, grpc.credentials.createInsecure());
const authorization = (text) => {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", text);
  return metadata;
};
const key = authorization("Basic " + Buffer.from(`${writeKey}:`).toString("base64"));
const bearer = authorization(`Bearer ${token}`);
const ask = (service, method, request, metadata) =>
  new Promise((resolve, reject) => service[method](request, metadata, (error, answer) => (error ? reject(error) : resolve(answer))));
const failure = (promise) => promise.then(() => assert.fail("it succeeded"), (error) => error);
const track = (user, name, id, more = {}) => ({ type: "EVENT_TYPE_TRACK", user_id: user, event: name, message_id: id, ...more });

async function ownWritesAreRead() {
  const told = await ask(events, "Publish", { events: [track("node", "Order Completed", "n-1", { properties: Buffer.from('{"total":12}') }), track("", "nobody", "n-2")] }, key);
  assert.equal(told.accepted, 1);
  assert.deepEqual(told.rejected.map((r) => [r.index, r.message_id, r.code]), [[1, "n-2", "missing_identity"]]);
  const { profile } = await ask(profiles, "GetProfile", { ref: "user_id:node", min_position: told.position }, bearer);
  const revenue = profile.features.find((feature) => feature.name === "revenue");
  assert.equal(JSON.parse(revenue.value), 12);
  const set = await ask(profiles, "SetTraits", { ref: "user_id:node", traits: Buffer.from('{"risk":0.25}'), provenance: "PROVENANCE_INFERRED", source: "model" }, bearer);
  const found = await ask(profiles, "LookupProfiles", { refs: ["user_id:node", "user_id:nobody"], min_position: set.position }, bearer);
  assert.equal(found.profiles[0].profile.traits.find((trait) => trait.name === "risk").winner.provenance, "PROVENANCE_INFERRED");
  assert.equal(found.profiles[1].code, "not_found");
}

async function eventsComeInPages() {
  const ids = [...Array(25).keys()].map((i) => `p-${i}`);
  const told = await ask(events, "Publish", { events: ids.map((id) => track("pages", "P", id)) }, key);
  const seen = [];
  let cursor = "";
  do {
    const page = await ask(profiles, "ListEvents", { ref: "user_id:pages", limit: 10, cursor, min_position: told.position }, bearer);
    seen.push(...page.events.map((event) => JSON.parse(event.json).messageId));
    cursor = page.next;
  } while (cursor);
  assert.deepEqual(seen, ids.reverse());
}

async function joiningAndErasing() {
  const told = await ask(events, "Publish", { events: [track("a", "A", "j-1"), { type: "EVENT_TYPE_TRACK", anonymous_id: "b", event: "B" }] }, key);
  const pair = { a: "user_id:a", b: "anonymous_id:b" };
  const dry = await ask(profiles, "MergeProfiles", { ...pair, dry_run: true, min_position: told.position }, bearer);
  assert.ok(dry.preview.allowed);
  assert.equal((await ask(profiles, "MergeProfiles", pair, bearer)).status, "ACT_STATUS_MERGED");
  assert.equal((await ask(profiles, "UnmergeProfiles", pair, bearer)).status, "ACT_STATUS_UNMERGED");
  const refused = await failure(ask(profiles, "UnmergeProfiles", pair, bearer));
  assert.equal(refused.code, grpc.status.FAILED_PRECONDITION);
  assert.ok(refused.metadata.get("grpc-status-details-bin")[0].includes("not_joined"));
  const { receipt } = await ask(profiles, "EraseProfile", { ref: "user_id:a" }, bearer);
  assert.match(receipt.id, /^[0-9a-f]{32}$/);
  assert.equal((await failure(ask(profiles, "GetProfile", { ref: "user_id:a" }, key))).code, grpc.status.UNAUTHENTICATED);
}

// As docs/grpc-api.md says it: count what is settled, and begin behind it after a failure.
function streamFrom(base, total) {
  return new Promise((resolve) => {
    const call = events.PublishStream(key);
    let done = base, next = base + 1, open = true;
    const write = () => {
      while (open && next <= total) {
        const hasRoom = call.write({ events: [track("stream", "S", `s-${next}`)] });
        next++;
        if (!hasRoom) return call.once("drain", write);
      }
      if (open) call.end();
    };
    call.on("data", (ack) => {
      done = base + ack.settled_through;
      if (done % 1000 < 100) console.log(`settled ${done}`);
    });
    call.on("error", () => { open = false; resolve(done); });
    call.on("end", () => resolve(done));
    write();
  });
}

const errors = [];
for (const test of [ownWritesAreRead, eventsComeInPages, joiningAndErasing]) {
  try {
    await test();
  } catch (error) {
    errors.push(`${test.name}: ${error.stack}`);
  }
}
let done = 0, attempts = 0;
while (done < Number(count) && attempts++ < 200) {
  done = await streamFrom(done, Number(count));
  if (done < Number(count)) await new Promise((resolve) => setTimeout(resolve, 50));
}
console.log(JSON.stringify({ done, attempts, errors }));
process.exit(errors.length ? 1 : 0);
