import assert from "node:assert/strict";
import { connect } from "node:net";
import { afterEach, describe, mock, test } from "node:test";
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from "../../src/http2/protocol.js";
import { StreamTable } from "../../src/http2/streamTable.js";
import type { Handlers, ServerStream } from "../../src/rpc/call.js";
import { ConnectionStats } from "../../src/stats/connections.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { frame, grpc, RawPeer, requestFields, setting, uint32 } from "./raw.js";

/* Floods that hide behind frames which do work, and clients that look like a flood but are none. */

const UNARY = "/test.Test/Unary";
const STREAM = "/test.Test/Stream";

let server: GrpcServer | undefined;
let stats = new ConnectionStats();
let streams: ServerStream[] = [];
const clients: RawPeer[] = [];
afterEach(async () => {
  mock.timers.reset();
  for (const client of clients.splice(0)) client.socket.destroy();
  await server?.shutdown(0);
  server = undefined;
});

const handlers: Handlers = {
  unary: new Map([[UNARY, (_call, request, reply) => reply(undefined, request)]]),
  stream: new Map([[STREAM, (opened) => streams.push(opened)]]),
};

async function listen(): Promise<string> {
  if (server === undefined) {
    stats = new ConnectionStats();
    streams = [];
  }
  server ??= await serveHttp2(handlers, {
    listen: ["127.0.0.1:0"],
    maxReceiveBytes: 1 << 20,
    connections: stats,
  });
  return server.addresses[0];
}

async function open(settings?: Uint8Array): Promise<RawPeer> {
  const client = await RawPeer.open(await listen(), settings);
  clients.push(client);
  return client;
}

const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const PING = frame(FrameType.PING, 0, 0, Buffer.alloc(8));

describe("a few useful frames do not offset a flood", () => {
  /** Sends rounds of frames until the server ends the connection. */
  async function flood(client: RawPeer, round: () => readonly Buffer[]): Promise<void> {
    for (let open = true; open; ) {
      const bytes = Buffer.concat(round());
      open = await new Promise<boolean>((resolve) => client.socket.write(bytes, (error) => resolve(!error)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(stats.refused.empty_frames, 1);
  }

  test("data that is only padding", async () => {
    const client = await open();
    client.write(client.headers(1, requestFields(STREAM)));
    const padding = frame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([9, ...new Uint8Array(9)]));
    await flood(client, () => times(1_000, () => padding));
  });

  test("data for a stream that has ended", async () => {
    const client = await open();
    client.request(1, UNARY, Buffer.from("x"));
    await flood(client, () => times(1_000, () => frame(FrameType.DATA, 0, 1, Buffer.from("x"))));
  });

  test("thousands of pings per byte of data", async () => {
    const client = await open();
    client.write(client.headers(1, requestFields(STREAM)));
    const data = frame(FrameType.DATA, 0, 1, grpc(Buffer.from("x")));
    await flood(client, () => [...times(9_000, () => PING), data]);
  });

  test("window updates for the connection", async () => {
    const client = await open();
    const update = frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1));
    await flood(client, () => times(1_000, () => update));
  });

  test("headers on a stream that was reset", async () => {
    const client = await open();
    client.write(client.headers(1, requestFields(STREAM)), frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0)));
    assert.equal(await client.reset(1), ErrorCode.PROTOCOL_ERROR);
    await flood(client, () => times(1_000, () => client.headers(1, requestFields(STREAM))));
  });
});

test("changes of the windows of thousands of streams are handled together", async () => {
  const client = await open();
  client.write(...times(5_000, (i) => client.headers(1 + 2 * i, requestFields(STREAM))));
  await client.ping();
  assert.equal(streams.length, 5_000);
  const walks = mock.method(StreamTable.prototype, "visitAll");
  const changes = times(2_000, (i) => setting(Setting.INITIAL_WINDOW_SIZE, 65_535 - (i % 2)));
  client.write(frame(FrameType.SETTINGS, 0, 0, Buffer.concat(changes)));
  client.write(...changes.slice(0, 100).map((change) => frame(FrameType.SETTINGS, 0, 0, change)));
  await client.ping();
  const { callCount } = { callCount: walks.mock.callCount() };
  walks.mock.restore();
  assert.ok(callCount >= 1 && callCount < 20, `${callCount} times for 2,100 changes`);
});

test("many small changes of the windows of thousands of streams are a flood", async () => {
  const client = await open();
  client.write(...times(5_000, (i) => client.headers(1 + 2 * i, requestFields(STREAM))));
  await client.ping();
  client.write(
    ...times(2_000, (i) =>
      frame(FrameType.SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 65_535 - (i % 2))),
    ),
  );
  assert.equal(await client.goaway(), ErrorCode.ENHANCE_YOUR_CALM);
  assert.equal(stats.refused.empty_frames, 1);
});

test("unread errors are bounded", async () => {
  const client = await open();
  client.socket.pause();
  const path = `/${"long".repeat(900)}/Method`;
  for (let id = 1, open = true; open; ) {
    const requests = times(500, () => {
      const request = client.headers(id, requestFields(path), Flag.END_HEADERS | Flag.END_STREAM);
      id += 2;
      return request;
    });
    open = await new Promise<boolean>((resolve) =>
      client.socket.write(Buffer.concat(requests), (error) => resolve(!error)),
    );
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(id < 2_000_000, "still open");
  }
  assert.equal(stats.refused.unread_answers, 1);
});

test("a client that only receives may send a window update and a ping for each data frame", async () => {
  const client = await open();
  client.write(client.headers(1, requestFields(STREAM)));
  await client.ping();
  const message = Buffer.from("event");
  const size = grpc(message).length;
  const grants = [
    frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(2 * size)),
    frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(2 * size)),
  ];
  for (let sent = 0; sent < 60_000; sent += 1_000) {
    for (let i = 0; i < 1_000; i++) streams[0].send([message]);
    client.write(...times(1_000, (i) => grants[i % 2]));
    await client.ping();
    client.frames.length = 0;
  }
  assert.equal(stats.refused.empty_frames, 0);
  client.request(3, UNARY, Buffer.from("hello"));
  await client.frame(({ type, id }) => type === FrameType.DATA && id === 3);
});

test("a client that stops after the preface is disconnected after 20 s", async () => {
  const address = await listen();
  mock.timers.enable({ apis: ["setTimeout"] });
  const [host, port] = address.split(":");
  const socket = connect({ host, port: Number(port) });
  socket.write(PREFACE);
  socket.resume();
  while (stats.openBy.http2 === 0) await new Promise((resolve) => setImmediate(resolve));
  mock.timers.tick(19_000);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stats.openBy.http2, 1);
  mock.timers.tick(1_000);
  await new Promise((resolve) => socket.once("close", resolve));
  assert.equal(stats.refused.protocol, 1);
});
