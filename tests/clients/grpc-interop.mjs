// node grpc-interop.mjs ADDRESS PROTO_DIR [CERTIFICATE]: gRPC's interoperability cases with @grpc/grpc-js against the TestService.
// Prints {"passed": [names], "errors": [texts]} and exits 1 when there are errors.
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, protoDir, certificate] = process.argv.slice(2);
const definition = loader.loadSync(["grpc/testing/test.proto", "grpc/health/v1/health.proto"], { includeDirs: [protoDir], keepCase: true, defaults: true });
const { TestService, UnimplementedService } = grpc.loadPackageDefinition(definition).grpc.testing;
const { Health } = grpc.loadPackageDefinition(definition).grpc.health.v1;

function connect(Service, options = {}) {
  const all = { "grpc.max_receive_message_length": -1, "grpc.use_local_subchannel_pool": 1, ...options };
  if (!certificate) return new Service(address, grpc.credentials.createInsecure(), all);
  return new Service(address, grpc.credentials.createSsl(readFileSync(certificate)), { ...all, "grpc.ssl_target_name_override": "localhost" });
}

const client = connect(TestService);
const payload = (size) => ({ body: Buffer.alloc(size) });
const order = (sizes, more = {}) => ({ response_parameters: sizes.map((size) => ({ size })), ...more });

const unary = (method, request, metadata = new grpc.Metadata(), options = {}, on = client) =>
  new Promise((resolve, reject) => {
    const call = on[method](request, metadata, options, (error, answer) => (error ? reject(error) : resolve({ answer, call })));
  });
const upload = (requests, options = {}, on = client) =>
  new Promise((resolve, reject) => {
    const call = on.StreamingInputCall(new grpc.Metadata(), options, (error, answer) => (error ? reject(error) : resolve(answer)));
    for (const request of requests) call.write(request);
    call.end();
  });
const download = (call) =>
  new Promise((resolve, reject) => {
    const answers = [];
    call.on("data", (answer) => answers.push(answer.payload.body.length));
    call.on("error", reject);
    call.on("end", () => resolve(answers));
  });
const next = (call) => new Promise((resolve, reject) => call.once("data", resolve).once("error", reject));
const failure = (promise) => promise.then(() => assert.fail("it succeeded"), (error) => error);

const cases = {
  async empty_unary() {
    await unary("EmptyCall", {});
  },
  async large_unary() {
    const { answer } = await unary("UnaryCall", { response_size: 314159, payload: payload(271828) });
    assert.equal(answer.payload.body.length, 314159);
  },
  async client_streaming() {
    const answer = await upload([27182, 8, 1828, 45904].map((size) => ({ payload: payload(size) })));
    assert.equal(answer.aggregated_payload_size, 74922);
  },
  async server_streaming() {
    assert.deepEqual(await download(client.StreamingOutputCall(order([31415, 9, 2653, 58979]))), [31415, 9, 2653, 58979]);
  },
  async ping_pong() {
    const call = client.FullDuplexCall();
    for (const [sent, asked] of [[27182, 31415], [8, 9], [1828, 2653], [45904, 58979]]) {
      call.write(order([asked], { payload: payload(sent) }));
      assert.equal((await next(call)).payload.body.length, asked);
    }
    call.end();
    assert.deepEqual(await download(call), []);
  },
  async empty_stream() {
    const call = client.FullDuplexCall();
    call.end();
    assert.deepEqual(await download(call), []);
  },
  async status_code_and_message() {
    const status = { code: 2, message: "test status message" };
    let error = await failure(unary("UnaryCall", { response_status: status }));
    assert.equal(`${error.code} ${error.details}`, "2 test status message");
    const call = client.FullDuplexCall();
    call.write({ response_status: status });
    error = await failure(download(call));
    assert.equal(`${error.code} ${error.details}`, "2 test status message");
  },
  async special_status_message() {
    const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
    const error = await failure(unary("UnaryCall", { response_status: { code: 2, message } }));
    assert.equal(error.details, message);
  },
  async unimplemented() {
    assert.equal((await failure(unary("UnimplementedCall", {}))).code, grpc.status.UNIMPLEMENTED);
    const other = connect(UnimplementedService);
    assert.equal((await failure(unary("UnimplementedCall", {}, undefined, {}, other))).code, grpc.status.UNIMPLEMENTED);
    other.close();
  },
  async cancel_after_begin() {
    const call = client.StreamingInputCall(() => {});
    const ended = new Promise((resolve) => call.on("status", resolve));
    call.on("error", () => {});
    call.cancel();
    assert.equal((await ended).code, grpc.status.CANCELLED);
  },
  async cancel_after_first_response() {
    const call = client.FullDuplexCall();
    call.write(order([31415], { payload: payload(27182) }));
    await next(call);
    const ended = failure(download(call));
    call.cancel();
    assert.equal((await ended).code, grpc.status.CANCELLED);
  },
  async timeout_on_sleeping_server() {
    const call = client.FullDuplexCall(new grpc.Metadata(), { deadline: Date.now() + 200 });
    call.write({ response_parameters: [{ size: 1, interval_us: 60000000 }] });
    assert.equal((await failure(download(call))).code, grpc.status.DEADLINE_EXCEEDED);
    const metadata = new grpc.Metadata();
    metadata.set("x-test-delay-ms", "60000");
    assert.equal((await failure(unary("UnaryCall", {}, metadata, { deadline: Date.now() + 200 }))).code, grpc.status.DEADLINE_EXCEEDED);
  },
  async custom_metadata() {
    const metadata = new grpc.Metadata();
    const binary = Buffer.from([0xab, 0xab, 0xab, 0x00, 0xff]);
    metadata.set("x-grpc-test-echo-initial", "test_initial_metadata_value");
    metadata.set("x-grpc-test-echo-trailing-bin", binary);
    for (const begin of [() => client.UnaryCall({ response_size: 10 }, metadata, () => {}), () => client.StreamingOutputCall(order([1]), metadata).on("data", () => {})]) {
      const call = begin();
      const [initial, status] = await Promise.all([new Promise((resolve) => call.on("metadata", resolve)), new Promise((resolve) => call.on("status", resolve))]);
      assert.deepEqual(initial.get("x-grpc-test-echo-initial"), ["test_initial_metadata_value"]);
      assert.deepEqual(status.metadata.get("x-grpc-test-echo-trailing-bin"), [binary]);
    }
  },
  async compression() {
    const gzip = connect(TestService, { "grpc.default_compression_algorithm": 2 });
    const expected = { expect_compressed: { value: true } };
    assert.equal((await failure(unary("UnaryCall", expected))).code, grpc.status.INVALID_ARGUMENT);
    const { answer } = await unary("UnaryCall", { ...expected, response_size: 314159, payload: payload(271828) }, undefined, {}, gzip);
    assert.equal(answer.payload.body.length, 314159);
    const sum = await upload([27182, 45904].map((size) => ({ ...expected, payload: payload(size) })), {}, gzip);
    assert.equal(sum.aggregated_payload_size, 73086);
    assert.deepEqual(await download(gzip.StreamingOutputCall(order([31415, 9, 58979]))), [31415, 9, 58979]);
    gzip.close();
  },
  async bomb() {
    const gzip = connect(TestService, { "grpc.default_compression_algorithm": 2 });
    assert.equal((await failure(upload([{ payload: payload(64 << 20) }], {}, gzip))).code, grpc.status.RESOURCE_EXHAUSTED);
    await unary("EmptyCall", {}, undefined, {}, gzip);
    gzip.close();
  },
  async five_megabytes() {
    const size = 5 << 20;
    const { answer } = await unary("UnaryCall", { response_size: size, payload: payload(size) });
    assert.equal(answer.payload.body.length, size);
    assert.equal((await failure(upload([{ payload: payload(size) }]))).code, grpc.status.RESOURCE_EXHAUSTED);
    await unary("EmptyCall", {});
  },
  async parallel() {
    const all = await Promise.all([...Array(500).keys()].map((size) => unary("UnaryCall", { response_size: size })));
    assert.deepEqual(all.map(({ answer }) => answer.payload.body.length), [...Array(500).keys()]);
  },
  async many_messages() {
    const sum = await upload(Array(20000).fill({ payload: payload(100) }));
    assert.equal(sum.aggregated_payload_size, 2000000);
    assert.equal((await download(client.StreamingOutputCall(order(Array(5000).fill(100))))).length, 5000);
  },
  async paused_reader() {
    const call = client.StreamingOutputCall(order(Array(50).fill(100000)));
    await next(call);
    call.pause();
    await unary("EmptyCall", {}); // others go on
    call.resume();
    assert.equal((await download(call)).length, 49);
  },
  async health() {
    const health = connect(Health);
    assert.equal((await unary("Check", {}, undefined, {}, health)).answer.status, 1);
    assert.equal((await failure(unary("Check", { service: "no.Such" }, undefined, {}, health))).code, grpc.status.NOT_FOUND);
    const watch = health.Watch({ service: "no.Such" });
    assert.equal((await next(watch)).status, 3);
    watch.on("error", () => {});
    watch.cancel();
    health.close();
  },
};

const passed = [];
const errors = [];
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    passed.push(name);
  } catch (error) {
    errors.push(`${name}: ${error.stack}`);
  }
}
client.close();
console.log(JSON.stringify({ passed, errors }));
process.exit(errors.length ? 1 : 0);
