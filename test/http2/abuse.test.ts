import assert from "node:assert/strict";
import { connect } from "node:net";
import { afterEach, describe, test } from "node:test";
import type { ConnectionLimits } from "../../src/http2/limits.js";
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from "../../src/http2/protocol.js";
import type { Handlers, ServerStream } from "../../src/rpc/call.js";
import { ConnectionStats, type Refusal } from "../../src/stats/connections.js";
import { Code } from "../../src/status/error.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { frame, grpc, RawPeer, requestFields, setting, uint32 } from "./raw.js";

const UNARY = "/test.Test/Unary";
const NEVER = "/test.Test/Never";
const LARGE = "/test.Test/Large";
const STREAM = "/test.Test/Stream";

let server: GrpcServer | undefined;
let stats = new ConnectionStats();
const clients: RawPeer[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await server?.shutdown(0);
  server = undefined;
});

let running = 0;
let cancelled = 0;
let stream: ServerStream | undefined;

const handlers: Handlers = {
  unary: new Map([
    [UNARY, (_call, request, reply) => reply(undefined, request)],
    [
      NEVER,
      (call) => {
        running++;
        call.onCancel(() => {
          running--;
          cancelled++;
        });
      },
    ],
    [LARGE, (_call, _request, reply) => reply(undefined, Buffer.alloc(4 << 20))],
  ]),
  stream: new Map([
    [
      STREAM,
      (opened) => {
        stream = opened;
        opened.onMessage(() => {});
      },
    ],
  ]),
};

async function open(limits: Partial<ConnectionLimits> = {}, settings?: Uint8Array): Promise<RawPeer> {
  running = 0;
  cancelled = 0;
  stream = undefined;
  if (server === undefined) stats = new ConnectionStats();
  server ??= await serveHttp2(handlers, {
    listen: ["127.0.0.1:0"],
    maxReceiveBytes: 1 << 20,
    limits,
    connections: stats,
  });
  const client = await RawPeer.open(server.addresses[0], settings);
  clients.push(client);
  return client;
}

/** Asserts that this client's connection ended, counted under `reason`, and that the server still serves others. */
async function calmed(client: RawPeer, reason: Refusal): Promise<void> {
  assert.equal(await client.goaway(), ErrorCode.ENHANCE_YOUR_CALM);
  await client.end();
  assert.equal(stats.refused[reason], 1);
  await works(await open());
}

async function works(client: RawPeer, id = 1): Promise<void> {
  client.request(id, UNARY, Buffer.from("hello"));
  await client.frame(
    (each) => each.type === FrameType.HEADERS && each.id === id && (each.flags & Flag.END_STREAM) > 0,
  );
  assert.deepEqual(client.data(id), grpc(Buffer.from("hello")));
}

describe("floods end the connection", () => {
  const floods: [name: string, frame: Buffer][] = [
    ["pings", frame(FrameType.PING, 0, 0, Buffer.alloc(8))],
    ["settings", frame(FrameType.SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 65_535))],
    ["priorities", frame(FrameType.PRIORITY, 0, 5, Buffer.alloc(5))],
    ["frames of unknown types", frame(99, 0, 0)],
    ["empty data", frame(FrameType.DATA, 0, 1)],
    ["window updates for a stream that has nothing to send", frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1))],
  ];
  for (const [name, each] of floods) {
    test(name, async () => {
      const client = await open();
      client.write(client.headers(1, requestFields(STREAM)));
      client.write(...Array.from({ length: 25_000 }, () => each));
      await calmed(client, "empty_frames");
    });
  }

  test("streams opened and reset immediately", async () => {
    const client = await open();
    for (let id = 1; id < 20_000; id += 2) {
      client.write(
        client.headers(id, requestFields(NEVER)),
        frame(FrameType.DATA, Flag.END_STREAM, id, grpc(Buffer.alloc(1))),
      );
      client.write(frame(FrameType.RST_STREAM, 0, id, uint32(ErrorCode.CANCEL)));
    }
    await calmed(client, "resets");
    assert.equal(running, 0);
  });

  test("streams that the client makes us reset", async () => {
    const client = await open();
    for (let id = 1; id < 20_000; id += 2) {
      client.write(
        client.headers(id, requestFields(NEVER)),
        frame(FrameType.DATA, Flag.END_STREAM, id, grpc(Buffer.alloc(1))),
      );
      client.write(frame(FrameType.WINDOW_UPDATE, 0, id, uint32(0)));
    }
    await calmed(client, "resets");
    assert.equal(running, 0);
  });

  test("a header block without end", async () => {
    const client = await open();
    client.write(frame(FrameType.HEADERS, 0, 1, Buffer.alloc(100, 0x82)));
    for (let i = 0; i < 200; i++)
      client.write(frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(16_000, 0x82)));
    await calmed(client, "header_block");
  });

  test("a header block of empty frames", async () => {
    const client = await open();
    client.write(frame(FrameType.HEADERS, 0, 1));
    client.write(...Array.from({ length: 1000 }, () => frame(FrameType.CONTINUATION, 0, 1)));
    await calmed(client, "header_block");
  });

  test("unread answers to pings", async () => {
    const client = await open();
    client.socket.pause();
    // Requests in between keep the count of idle frames low.
    let id = -1;
    const ping = frame(FrameType.PING, 0, 0, Buffer.alloc(8));
    // The write fails once the server has closed.
    for (let open = true; open; ) {
      const pieces = Array.from({ length: 50 }, () => {
        id += 2;
        const head = client.headers(id, requestFields(UNARY));
        const data = frame(FrameType.DATA, Flag.END_STREAM, id, grpc(Buffer.from("x")));
        return [head, data, ...Array.from({ length: 150 }, () => ping)];
      });
      const bytes = Buffer.concat(pieces.flat());
      open = await new Promise<boolean>((resolve) => client.socket.write(bytes, (error) => resolve(!error)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(stats.refused.unread_answers, 1);
    await works(await open());
  });
});

describe("bounds on single streams do not end the connection", () => {
  test("header lists beyond the limit are refused, and the table stays consistent", async () => {
    const client = await open();
    const big = { name: "big", value: "x".repeat(900), repeats: true };
    client.write(client.headers(1, [...requestFields(UNARY), big], Flag.END_HEADERS | Flag.END_STREAM));
    // 1 byte of header for each 935 bytes of list.
    client.write(
      client.headers(3, [
        ...requestFields(UNARY),
        { name: "inserted", value: "too", repeats: true },
        ...Array.from({ length: 200 }, () => big),
      ]),
    );
    const answer = await client.frame((each) => each.type === FrameType.HEADERS && each.id === 3);
    for (const { type, id, payload } of client.frames) {
      if (type === FrameType.HEADERS && id === 1) client.decoder.decode(payload, 0, payload.length);
    }
    assert.equal(client.decoder.decode(answer.payload, 0, answer.payload.length)["grpc-status"], "8");
    client.write(
      client.headers(5, [...requestFields(UNARY), { name: "inserted", value: "too", repeats: true }]),
    );
    client.write(frame(FrameType.DATA, Flag.END_STREAM, 5, grpc(Buffer.from("y"))));
    await client.frame((each) => each.type === FrameType.DATA && each.id === 5);
    await works(client, 7);
  });

  test("streams beyond the limit are refused, unprocessed", async () => {
    const client = await open({ maxStreams: 10 });
    for (let id = 1; id <= 21; id += 2) client.request(id, NEVER, Buffer.from("x"));
    assert.equal(await client.reset(21), ErrorCode.REFUSED_STREAM);
    assert.equal(stats.refusedStreams, 1);
    assert.equal(running, 10);
    client.write(frame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.CANCEL)));
    await works(client, 23);
    assert.deepEqual([running, cancelled], [9, 1]);
  });

  test("a refused stream still updates the header table", async () => {
    const client = await open({ maxStreams: 1 });
    client.request(1, NEVER, Buffer.from("x"));
    // The first request for this path adds it to the table; later ones send its index.
    const refused = client.headers(3, requestFields(UNARY));
    client.write(refused);
    assert.equal(await client.reset(3), ErrorCode.REFUSED_STREAM);
    client.write(frame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.CANCEL)));
    const again = client.headers(5, requestFields(UNARY));
    assert.ok(again.length < refused.length, "the test is about fields that refer to the table");
    const data = grpc(Buffer.from("hello"));
    client.write(again, frame(FrameType.DATA, Flag.END_STREAM, 5, data));
    await client.frame(
      ({ type, id, flags }) => type === FrameType.HEADERS && id === 5 && (flags & Flag.END_STREAM) > 0,
    );
    assert.deepEqual(client.data(5), data);
  });

  test("unfinished messages are bounded for the whole connection", async () => {
    const client = await open({ maxBufferedBytes: 100_000 });
    const part = Buffer.concat([Buffer.from([0]), uint32(1_000_000), Buffer.alloc(15_000)]);
    for (let id = 1; id < 20; id += 2)
      client.write(client.headers(id, requestFields(UNARY)), frame(FrameType.DATA, 0, id, part));
    assert.equal(await client.reset(13), ErrorCode.ENHANCE_YOUR_CALM);
    await works(client, 21);
    // A finished stream frees its memory.
    client.write(frame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.CANCEL)));
    client.write(client.headers(23, requestFields(UNARY)), frame(FrameType.DATA, 0, 23, part));
    await client.ping();
    assert.ok(!client.frames.some(({ type, id }) => type === FrameType.RST_STREAM && id === 23));
  });

  test("calls in progress are bounded for each connection, and for all together", async () => {
    // Room for three calls and for the message of one more, and for five with the message of one more.
    const limits = { maxBufferedBytes: 47_000, maxBufferedTotal: 71_000 };
    const message = Buffer.alloc(10_000);
    const refused = (client: RawPeer, id: number) =>
      client.frame(
        ({ type, id: at, flags }) => type === FrameType.HEADERS && at === id && (flags & Flag.END_STREAM) > 0,
      );
    const first = await open(limits);
    for (const id of [1, 3, 5, 7]) first.request(id, NEVER, message);
    const { payload } = await refused(first, 7);
    assert.deepEqual(
      [first.decoder.decode(payload, 0, payload.length)["grpc-status"], running],
      [String(Code.RESOURCE_EXHAUSTED), 3],
    );
    // A fair share is half of the total. `open` counts from 0.
    const second = await open(limits);
    for (const id of [1, 3, 5]) second.request(id, NEVER, message);
    await refused(second, 5);
    assert.equal(running, 2);
    first.write(frame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.CANCEL)));
    await works(first, 9);
    first.request(11, NEVER, Buffer.alloc(1_000));
    while (running < 2) await new Promise((resolve) => setImmediate(resolve));
    for (const client of [first, second]) client.socket.destroy();
    while (stats.requests.bytes > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("a client that grants no window gets no data, holds up no other, and can go on later", async () => {
    const client = await open({}, setting(Setting.INITIAL_WINDOW_SIZE, 0));
    client.request(1, LARGE, Buffer.from("x"));
    client.request(3, UNARY, Buffer.from("y"));
    client.write(frame(FrameType.WINDOW_UPDATE, 0, 3, uint32(1000)));
    await client.frame((each) => each.type === FrameType.DATA && each.id === 3);
    assert.equal(client.data(1).length, 0);
    client.write(frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(7)));
    await client.frame((each) => each.type === FrameType.DATA && each.id === 1);
    await client.ping();
    assert.equal(client.data(1).length, 7);
    client.write(
      frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 24)),
      frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1 << 24)),
    );
    await client.frame(
      (each) => each.type === FrameType.HEADERS && each.id === 1 && (each.flags & Flag.END_STREAM) > 0,
    );
    assert.equal(client.data(1).length, (4 << 20) + 5);
  });

  test("unread answers are bounded for the whole connection", async () => {
    const client = await open({ maxQueuedBytes: 10 << 20 });
    for (let id = 1; id <= 41; id += 2) client.request(id, LARGE, Buffer.from("x"));
    // The client grants no more than the first window. Answers that cannot be queued end with an error.
    const refused = await client.frame(
      ({ type, flags }) => type === FrameType.HEADERS && (flags & Flag.END_STREAM) > 0,
    );
    const answered = client.frames.filter(({ type, id }) => type === FrameType.HEADERS && id < refused.id);
    for (const { payload } of answered) client.decoder.decode(payload, 0, payload.length);
    assert.equal(client.decoder.decode(refused.payload, 0, refused.payload.length)["grpc-status"], "8");
    assert.equal(refused.id, 7);
    // There is room again once the queue is read or dropped.
    for (const id of [1, 3, 5]) client.write(frame(FrameType.RST_STREAM, 0, id, uint32(ErrorCode.CANCEL)));
    client.write(frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 20)));
    await works(client, 43);
  });

  test("unread answers are bounded for all connections together, and a client that reads gets its own", async () => {
    const limits = { maxQueuedTotal: 20 << 20 };
    const stalled = [await open(limits), await open(limits), await open(limits)];
    const refused = ({ type, flags }: { type: number; flags: number }) =>
      type === FrameType.HEADERS && (flags & Flag.END_STREAM) > 0;
    for (let id = 1; id <= 15; id += 2) {
      for (const client of stalled) client.request(id, LARGE, Buffer.from("x"));
    }
    // Of 96 MiB, at most the limit and one answer are queued for the first connection, and for each of the others its
    // fair share of 6.7 MiB and what is left of the answer that exceeds it: 24 + 8 + 8 MiB.
    await Promise.all(stalled.map((client) => client.frame(refused)));
    assert.ok(stats.queued.bytes > 16 << 20 && stats.queued.bytes < 41 << 20, `${stats.queued.bytes} bytes`);
    const reader = await open(limits, setting(Setting.INITIAL_WINDOW_SIZE, 1 << 24));
    reader.write(frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 24)));
    reader.request(1, LARGE, Buffer.from("x"));
    await reader.frame(refused);
    assert.equal(reader.data(1).length, (4 << 20) + 5);
    for (const client of stalled) client.socket.destroy();
    while (stats.queued.bytes > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("the result of send bounds a slow reader's queue", async () => {
    const client = await open();
    client.write(client.headers(1, requestFields(STREAM)));
    await client.ping();
    client.socket.pause();
    let sent = 0;
    while (stream!.send([Buffer.alloc(10_000)])) sent++;
    assert.ok(sent < 300, `${sent} messages of 10 kB`);
    assert.ok(stream!.queuedBytes <= (1 << 20) + 10_005);
    let drained = 0;
    stream!.onDrain(() => drained++);
    client.write(
      frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 24)),
      frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1 << 24)),
    );
    client.socket.resume();
    while (client.data(1).length < (sent + 1) * 10_005) await client.more();
    assert.equal(drained, 1);
    assert.equal(stream!.queuedBytes, 0);
  });

  test("a connection that takes large answers does not hold up another", async () => {
    const greedy = await open({}, setting(Setting.INITIAL_WINDOW_SIZE, 1 << 24));
    greedy.write(frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 30)));
    const other = await open();
    for (let id = 1; id <= 29; id += 2) greedy.request(id, LARGE, Buffer.from("x"));
    await greedy.frame(({ type }) => type === FrameType.DATA);
    await works(other);
    const received = () =>
      greedy.frames.reduce(
        (sum, { type, payload }) => sum + (type === FrameType.DATA ? payload.length : 0),
        0,
      );
    const meanwhile = received();
    for (let id = 1; id <= 29; id += 2) {
      await greedy.frame((each) => each.id === id && (each.flags & Flag.END_STREAM) > 0);
    }
    assert.ok(meanwhile < received() / 2, `${meanwhile} of ${received()} bytes had to come first`);
  });

  test("large answers on one connection take turns", async () => {
    const client = await open({}, setting(Setting.INITIAL_WINDOW_SIZE, 1 << 24));
    client.write(frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 26)));
    client.request(1, LARGE, Buffer.from("x"));
    client.request(3, LARGE, Buffer.from("x"));
    for (const id of [1, 3]) {
      await client.frame(
        (each) => each.type === FrameType.HEADERS && each.id === id && (each.flags & Flag.END_STREAM) > 0,
      );
    }
    const order = client.frames.filter(({ type }) => type === FrameType.DATA).map(({ id }) => id);
    const halfway = order.slice(0, order.length / 2);
    const share = halfway.filter((id) => id === 1).length / halfway.length;
    assert.ok(share > 0.4 && share < 0.6, `stream 1 had ${share} of the first half`);
  });
});

describe("connections", () => {
  test("a silent peer that does not answer a ping is disconnected, and its calls end", async () => {
    const client = await open({ pingIntervalMs: 50, pingTimeoutMs: 100 });
    client.request(1, NEVER, Buffer.from("x"));
    // This client never answers pings.
    await client.end();
    assert.equal(cancelled, 1);
    assert.equal(stats.refused.unresponsive, 1);
  });

  test("bytes that are not HTTP are refused", async () => {
    await open();
    const [host, port] = server!.addresses[0].split(":");
    const socket = connect({ host, port: Number(port) });
    socket.write(Buffer.from("16030100c8010000c40303", "hex")); // the beginning of TLS
    socket.resume();
    await new Promise((resolve) => socket.once("close", resolve));
  });

  test("bytes may arrive one by one", async () => {
    await open();
    const [host, port] = server!.addresses[0].split(":");
    const client = new RawPeer(connect({ host, port: Number(port), noDelay: true }));
    clients.push(client);
    const bytes = Buffer.concat([
      PREFACE,
      frame(FrameType.SETTINGS, 0, 0),
      client.headers(1, requestFields(UNARY)),
      frame(FrameType.DATA, Flag.END_STREAM, 1, grpc(Buffer.from("hello"))),
      client.headers(3, requestFields(UNARY)),
      frame(
        FrameType.DATA,
        Flag.PADDED | Flag.END_STREAM,
        3,
        Buffer.concat([Buffer.from([3]), grpc(Buffer.from("padded")), Buffer.alloc(3)]),
      ),
    ]);
    for (const byte of bytes) {
      client.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const id of [1, 3])
      await client.frame(
        (each) => each.id === id && each.type === FrameType.HEADERS && (each.flags & Flag.END_STREAM) > 0,
      );
    assert.deepEqual(client.data(1), grpc(Buffer.from("hello")));
    assert.deepEqual(client.data(3), grpc(Buffer.from("padded")));
  });

  test("draining: calls in flight and those that crossed the GOAWAY are served, later ones are not", async () => {
    const client = await open();
    client.write(client.headers(1, requestFields(UNARY)));
    await client.ping();
    const stopped = server!.shutdown(20_000);
    await client.frame(({ type }) => type === FrameType.GOAWAY);
    // Sent before the client can have seen the GOAWAY.
    client.request(3, UNARY, Buffer.from("crossed"));
    const ping = await client.frame(({ type, flags }) => type === FrameType.PING && flags === 0);
    client.write(frame(FrameType.PING, Flag.ACK, 0, ping.payload));
    await client.frame(({ type, payload }) => type === FrameType.GOAWAY && payload.readUInt32BE(0) === 3);
    client.request(5, UNARY, Buffer.from("late"));
    client.write(frame(FrameType.DATA, Flag.END_STREAM, 1, grpc(Buffer.from("first"))));
    await client.end();
    await stopped;
    assert.deepEqual(
      [1, 3, 5].map((id) => String(client.data(id).subarray(5))),
      ["first", "crossed", ""],
    );
  });
});
