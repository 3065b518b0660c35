// node grpc-reflection.mjs ADDRESS v1|v1alpha SYMBOL: a client without protocol files: it lists the services, the methods of SYMBOL, and calls health
// through what reflection told. Prints {"services": […], "methods": […], "health": status, "unknown": error}.
import grpc from "@grpc/grpc-js";
import { GrpcReflection } from "grpc-js-reflection-client";

const [address, version, symbol] = process.argv.slice(2);
const credentials = grpc.credentials.createInsecure();
const reflection = new GrpcReflection(address, credentials, {}, version);
const services = await reflection.listServices();
const methods = (await reflection.listMethods(symbol)).map((method) => method.name);
const descriptor = await reflection.getDescriptorBySymbol("grpc.health.v1.Health");
const { Health } = descriptor.getPackageObject({ keepCase: true, enums: String }).grpc.health.v1;
const health = await new Promise((resolve, reject) => {
  new Health(address, credentials).Check({}, (error, answer) => (error ? reject(error) : resolve(answer.status)));
});
const unknown = await reflection.getDescriptorBySymbol("no.Such").then(() => "", (error) => String(error));
console.log(JSON.stringify({ services, methods, health, unknown }));
process.exit(0);
