// node grpc-beside.mjs ADDRESS PROTO_DIR WRITE_KEY TOKEN USER COUNT: @grpc/grpc-js subscribes to USER's trait, publishes COUNT events and an identify, reads the
// profile, and waits until it was told of the trait. Prints {"accepted", "events", "told"}.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, protoDir, writeKey, token, user, count] = process.argv.slice(2);
const files = ["event", "profile", "change"].map((name) => `cdpd/v1/${name}_service.proto`);
const definition = loader.loadSync(files, { includeDirs: [protoDir], keepCase: true, defaults: true, enums: String, longs: Number });
const { EventService, ProfileService, ChangeService } = grpc.loadPackageDefinition(definition).cdpd.v1;
const credentials = grpc.credentials.createInsecure();
const metadata = (name, value) => {
  const made = new grpc.Metadata();
  made.set(name, value);
  return made;
};
const bearer = metadata("authorization", `Bearer ${token}`);
const ask = (service, method, request, words) =>
  new Promise((resolve, reject) => service[method](request, words, (error, answer) => (error ? reject(error) : resolve(answer))));

const changes = new ChangeService(address, credentials).Subscribe({ traits: ["came_by"] }, bearer);
const begun = new Promise((resolve) => changes.once("data", resolve)); // the cursor
let profile = "";
const told = new Promise((resolve, reject) => {
  const seen = new Map();
  changes.on("data", (change) => {
    if (change.kind === "CHANGE_KIND_TRAIT") seen.set(change.profile, JSON.parse(change.json).traits.came_by.value);
    if (profile && seen.has(profile)) resolve(seen.get(profile));
  });
  changes.on("error", reject);
  changes.look = () => seen.has(profile) && resolve(seen.get(profile));
});
await begun;

const events = [...Array(Number(count)).keys()].map((i) => ({ type: "EVENT_TYPE_TRACK", user_id: user, event: "Seen", message_id: `${user}-${i}` }));
events.push({ type: "EVENT_TYPE_IDENTIFY", user_id: user, message_id: `${user}-who`, traits: Buffer.from('{"came_by":"node"}') });
const answer = await ask(new EventService(address, credentials), "Publish", { events }, metadata("x-write-key", writeKey));
const found = await ask(new ProfileService(address, credentials), "GetProfile", { ref: `user_id:${user}`, min_position: answer.position }, bearer);
profile = found.profile.id;
changes.look();
const report = { accepted: answer.accepted, events: found.profile.identifiers[0].events, told: await told };
changes.on("error", () => {});
changes.cancel();
console.log(JSON.stringify(report));
process.exit(0);
