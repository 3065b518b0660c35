// node grpc-changes.mjs ADDRESS PROTO_DIR TOKEN LAST: @grpc/grpc-js takes a snapshot, then reads the named subscription "node" until the trait n has come to
// LAST, committing now and then, and subscribes again whenever the stream breaks. Prints "at N" for each; the last line is
// {"seen", "gaps", "attempts", "rows", "codes": [status names]}.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, protoDir, token, last] = process.argv.slice(2);
const definition = loader.loadSync(["cdpd/v1/change_service.proto"], { includeDirs: [protoDir], keepCase: true, defaults: true, enums: String, longs: Number });
const { ChangeService } = grpc.loadPackageDefinition(definition).cdpd.v1;
const changes = new ChangeService(address, grpc.credentials.createInsecure(), { "grpc.initial_reconnect_backoff_ms": 50, "grpc.max_reconnect_backoff_ms": 200 });
const bearer = new grpc.Metadata();
bearer.set("authorization", `Bearer ${token}`);

const seen = new Set();
const report = { seen: 0, gaps: 0, attempts: 0, rows: 0, codes: [] };
let highest = -1;

function snapshot() {
  return new Promise((resolve, reject) => {
    const stream = changes.Snapshot({}, bearer);
    stream.on("data", (row) => (report.rows += row.profile ? 1 : 0));
    stream.on("end", resolve);
    stream.on("error", reject);
  });
}

const commit = (cursor) => new Promise((resolve) => changes.CommitCursor({ subscription: "node", cursor }, bearer, () => resolve()));

function follow() {
  report.attempts++;
  return new Promise((resolve) => {
    const stream = changes.Subscribe({ subscription: "node", put: true, kinds: ["CHANGE_KIND_TRAIT"], traits: ["n"], from_oldest: true }, bearer);
    let count = 0;
    stream.on("data", (change) => {
      if (change.kind !== "CHANGE_KIND_TRAIT") return;
      const n = JSON.parse(change.json).traits.n.value;
      if (n > highest + 1) report.gaps++;
      highest = Math.max(highest, n);
      seen.add(n);
      console.log(`at ${n}`);
      if (++count % 10 === 0) commit(change.cursor);
      if (n === Number(last)) stream.cancel();
    });
    stream.on("error", (error) => {
      report.codes.push(grpc.status[error.code]);
      resolve();
    });
    stream.on("end", resolve);
  });
}

while (highest < Number(last)) {
  await follow();
  await new Promise((resolve) => setTimeout(resolve, 50));
}
await snapshot();
report.seen = seen.size;
console.log(JSON.stringify(report));
process.exit(0);
