// node grpc-drain.mjs ADDRESS PROTO_DIR: calls without end until one fails; prints "ready" once slow ones are in progress. The last line is
// {"slow": calls that ended well, "quick": …, "code": of the failure}.
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [address, protoDir] = process.argv.slice(2);
const definition = loader.loadSync("grpc/testing/test.proto", { includeDirs: [protoDir], keepCase: true, defaults: true });
const { TestService } = grpc.loadPackageDefinition(definition).grpc.testing;
const client = new TestService(address, grpc.credentials.createInsecure());
const metadata = new grpc.Metadata();
metadata.set("x-test-delay-ms", "1000");

const call = (request, extra = new grpc.Metadata()) => new Promise((resolve, reject) => client.UnaryCall(request, extra, (error, answer) => (error ? reject(error) : resolve(answer))));
await call({});
const slow = Promise.all([...Array(50).keys()].map((size) => call({ response_size: size }, metadata)));
await call({}); // the server has seen those before it
console.log("ready");
let quick = 0;
let code = 0;
try {
  for (;;) {
    await call({});
    quick++;
  }
} catch (error) {
  code = error.code;
}
console.log(JSON.stringify({ slow: (await slow).length, quick, code }));
process.exit(0);
