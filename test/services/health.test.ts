import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { createHealth, Health } from "../../src/services/health.js";
import { Code } from "../../src/status/error.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";

let server: GrpcServer;
let client: grpc.Client;

before(async () => {
  server = await serveHttp2(createHealth(), { listen: ["127.0.0.1:0"], maxReceiveBytes: 1_000_000 });
  client = new grpc.Client(server.addresses[0]!, grpc.credentials.createInsecure());
});

after(async () => {
  client.close();
  await server.shutdown(0);
});

const same = (value: Buffer): Buffer => value;
/** `HealthCheckRequest` for a service. */
const request = (service: string): Buffer =>
  service === "" ? Buffer.alloc(0) : Buffer.from([0x0a, service.length, ...Buffer.from(service)]);

const check = (service: string): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(Health.Check, same, same, request(service), (error, response) =>
      error ? reject(error) : resolve(response!),
    );
  });

test("the server as a whole is serving", async () => {
  assert.deepEqual([...(await check(""))], [0x08, 1]);
});

test("single services are unknown, as in etcd", async () => {
  await assert.rejects(check("etcdserverpb.KV"), { code: Code.NOT_FOUND, details: "unknown service" });
});

for (const [service, status] of [
  ["", 1],
  ["etcdserverpb.KV", 3],
] as const) {
  test(`a watch of "${service}" gets status ${status} and stays open until the server ends`, async () => {
    const stream = client.makeServerStreamRequest(Health.Watch, same, same, request(service));
    const first = await new Promise<Buffer>((resolve, reject) =>
      stream.once("data", resolve).once("error", reject),
    );
    assert.deepEqual([...first], [0x08, status]);
    // Still open a round trip later.
    assert.deepEqual([...(await check(""))], [0x08, 1]);
    assert.equal(stream.readableEnded || stream.destroyed, false);
    stream.removeAllListeners("error").on("error", () => {});
    stream.cancel();
  });
}
