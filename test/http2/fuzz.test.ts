import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { HpackDecoder } from "../../src/http2/hpack/decoder.js";
import { ConnectionError, ErrorCode, Flag, FrameType, PREFACE } from "../../src/http2/protocol.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { frame, grpc, RawPeer, requestFields } from "./raw.js";
import { type Random, randomOf } from "./support.js";

/** How long each part runs. */
const BUDGET_MS = Number(process.env.FUZZ_MS ?? 3_000);
const UNARY = "/test.Test/Unary";
const STREAM = "/test.Test/Stream";

let server: GrpcServer;
let open = 0;
before(async () => {
  server = await serveHttp2(
    {
      unary: new Map([[UNARY, (_call, request, reply) => reply(undefined, request)]]),
      stream: new Map([
        [
          STREAM,
          (stream) => {
            open++;
            stream.onMessage((message) => stream.send([message]));
            stream.onEnd(() => {
              open--;
              stream.end();
            });
            stream.onCancel(() => open--);
          },
        ],
      ]),
    },
    { listen: ["127.0.0.1:0"], maxReceiveBytes: 10_000 },
  );
});
after(() => server.shutdown(0));

function bytesOf(random: Random, most: number): Buffer {
  return Buffer.from(Array.from({ length: random.below(most) }, () => random.below(256)));
}

/** Resolves when the server has closed the connection or answered a ping. */
async function settled(client: RawPeer): Promise<void> {
  await client.ping().catch(() => {});
  client.socket.destroy();
  await client.end();
}

async function stillServes(): Promise<void> {
  const client = await RawPeer.open(server.addresses[0]);
  client.request(1, UNARY, Buffer.from("hello"));
  await client.frame(({ type, flags }) => type === FrameType.HEADERS && (flags & Flag.END_STREAM) > 0);
  assert.deepEqual(client.data(1), grpc(Buffer.from("hello")));
  client.socket.destroy();
}

test("random header blocks decode or end with COMPRESSION_ERROR", () => {
  const random = randomOf();
  const end = Date.now() + BUDGET_MS;
  while (Date.now() < end) {
    const hpack = new HpackDecoder((fields) => fields?.length, 10_000);
    for (let i = 0; i < 20; i++) {
      const block = bytesOf(random, 60);
      try {
        hpack.decode(block, 0, block.length);
      } catch (error) {
        assert.ok(
          error instanceof ConnectionError && error.code === ErrorCode.COMPRESSION_ERROR,
          String(error),
        );
        break;
      }
    }
  }
});

test("random frames: the server ends the connection or goes on, and serves others", async () => {
  const random = randomOf();
  const end = Date.now() + BUDGET_MS;
  while (Date.now() < end) {
    const client = await RawPeer.open(server.addresses[0]);
    for (let i = random.below(40); i > 0; i--) client.write(randomFrame(random, client));
    await settled(client);
  }
  await stillServes();
  while (open > 0) await new Promise((resolve) => setImmediate(resolve));
});

function randomFrame(random: Random, client: RawPeer): Buffer {
  const id = 1 + 2 * random.below(6);
  switch (random.below(8)) {
    case 0:
    case 1:
      return client.headers(
        id,
        requestFields([UNARY, STREAM, "/none"][random.below(3)]),
        random.below(8) === 0 ? random.below(256) : Flag.END_HEADERS,
      );
    case 2:
    case 3:
      return frame(FrameType.DATA, random.below(2), id, grpc(bytesOf(random, 100)));
    case 4:
      return frame(FrameType.DATA, random.below(256), id, bytesOf(random, 100));
    case 5:
      return frame(random.below(11), random.below(256), random.below(12), bytesOf(random, 20));
    case 6:
      return frame(FrameType.RST_STREAM, 0, id, Buffer.from([0, 0, 0, random.below(14)]));
    default:
      return frame(
        FrameType.WINDOW_UPDATE,
        0,
        random.below(2) * id,
        Buffer.from([0, 0, random.below(256), 1]),
      );
  }
}

test("a valid conversation with single bytes changed", async () => {
  const random = randomOf();
  const end = Date.now() + BUDGET_MS;
  const [host, port] = server.addresses[0].split(":");
  while (Date.now() < end) {
    const client = new RawPeer(connect({ host, port: Number(port), noDelay: true }));
    const bytes = Buffer.concat([
      PREFACE,
      frame(FrameType.SETTINGS, 0, 0),
      ...[1, 3, 5].flatMap((id) => [
        client.headers(id, requestFields(id === 3 ? STREAM : UNARY)),
        frame(FrameType.DATA, Flag.END_STREAM, id, grpc(bytesOf(random, 50))),
      ]),
    ]);
    for (let i = 1 + random.below(3); i > 0; i--) bytes[random.below(bytes.length)] = random.below(256);
    client.write(bytes);
    // A larger length swallows the rest. Then the client closes.
    setTimeout(() => client.socket.destroy(), 50).unref();
    await settled(client);
  }
  await stillServes();
});

test("valid conversations may arrive in pieces of 1 to 7 bytes", async () => {
  const random = randomOf();
  const [host, port] = server.addresses[0].split(":");
  for (let run = 0; run < 20; run++) {
    const client = new RawPeer(connect({ host, port: Number(port), noDelay: true }));
    const messages = [1, 3, 5, 7].map((id) => ({ id, message: bytesOf(random, 300) }));
    const bytes = Buffer.concat([
      PREFACE,
      frame(FrameType.SETTINGS, 0, 0),
      ...messages.flatMap(({ id, message }) => [
        client.headers(id, requestFields(id > 4 ? STREAM : UNARY)),
        frame(FrameType.DATA, Flag.END_STREAM, id, grpc(message)),
      ]),
    ]);
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random.below(7);
      client.write(bytes.subarray(at, at + size));
      at += size;
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const { id, message } of messages) {
      await client.frame(
        (each) => each.id === id && each.type === FrameType.HEADERS && (each.flags & Flag.END_STREAM) > 0,
      );
      assert.deepEqual(client.data(id), grpc(message));
    }
    client.socket.destroy();
  }
});
