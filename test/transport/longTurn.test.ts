import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import type { UnaryHandler } from "../../src/rpc/call.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import { until } from "../support/until.js";

const UNARY = "/test.Test/Unary";
const identity = (bytes: Buffer) => bytes;
const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

test("long calls of one connection take turns, and one that is cancelled gives its turn to the next", async () => {
  /** Calls that have their turn, by their request. */
  const running = new Map<string, () => void>();
  const unary: UnaryHandler = (call, request, reply) => {
    const name = Buffer.from(request).toString();
    if (name === "short") {
      reply(undefined, request);
      return;
    }
    void call.longTurn!().then(() => {
      if (call.cancelled) return;
      assert.equal(call.isAlone, false);
      running.set(name, () => reply(undefined, request));
      call.onCancel(() => running.delete(name));
    });
  };
  const options = { listen: ["127.0.0.1:0"], maxReceiveBytes: 10_000 };
  const server = await serveHttp2({ unary: new Map([[UNARY, unary]]), stream: new Map() }, options);
  cleanups.push(() => server.shutdown(0));
  const connect = () => {
    const client = new Client(server.addresses[0]!, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
    cleanups.push(() => client.close());
    return client;
  };
  const [one, other] = [connect(), connect()];
  const send = (client: Client, name: string) => {
    let cancel = () => {};
    const ended = new Promise<string>((resolve) => {
      const call = client.makeUnaryRequest(UNARY, identity, identity, Buffer.from(name), (error, response) =>
        resolve(error === null ? String(response) : "failed"),
      );
      cancel = () => call.cancel();
    });
    return { ended, cancel: () => cancel() };
  };
  await Promise.all([send(one, "short").ended, send(other, "short").ended]);
  const [first, second, third] = ["first", "second", "third"].map((name) => send(one, name));
  await until("the first has its turn", () => running.has("first"));
  const beside = send(other, "beside");
  await until("a call of another connection has its turn", () => running.has("beside"));
  assert.equal(await send(one, "short").ended, "short");
  assert.deepEqual([...running.keys()], ["first", "beside"]);
  first!.cancel();
  await until("the second has its turn", () => running.has("second"));
  assert.ok(!running.has("third"));
  running.get("second")!();
  assert.equal(await second!.ended, "second");
  await until("the third has its turn", () => running.has("third"));
  running.get("third")!();
  running.get("beside")!();
  assert.deepEqual(await Promise.all([first!.ended, third!.ended, beside.ended]), [
    "failed",
    "third",
    "beside",
  ]);
});
