import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { ErrorCode, Flag, FrameType, Setting } from "../../src/http2/protocol.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { frame, grpc, RawPeer, requestFields, setting, uint32 } from "./raw.js";

const UNARY = "/test.Test/Unary";
const STREAM = "/test.Test/Stream";

let server: GrpcServer;
before(async () => {
  server = await serveHttp2(
    {
      unary: new Map([[UNARY, (_call, request, reply) => reply(undefined, request)]]),
      stream: new Map([[STREAM, (stream) => stream.onMessage((message) => stream.send([message]))]]),
    },
    { listen: ["127.0.0.1:0"], maxReceiveBytes: 1 << 20 },
  );
});
after(() => server.shutdown(0));

const clients: RawPeer[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.socket.destroy();
});

async function open(settings?: Uint8Array): Promise<RawPeer> {
  const client = await RawPeer.open(server.addresses[0], settings);
  clients.push(client);
  return client;
}

type Send = (client: RawPeer) => Uint8Array;
/** A stream that stays open. */
const opened: Send = (client) => client.headers(1, requestFields(STREAM));

describe("violations that end the connection (RFC 9113)", () => {
  const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, COMPRESSION_ERROR, STREAM_CLOSED } =
    ErrorCode;
  const cases: [name: string, code: number, ...send: Send[]][] = [
    ["DATA on stream 0", PROTOCOL_ERROR, () => frame(FrameType.DATA, 0, 0, grpc(Buffer.alloc(1)))],
    ["DATA on an idle stream", PROTOCOL_ERROR, () => frame(FrameType.DATA, 0, 1)],
    ["HEADERS on stream 0", PROTOCOL_ERROR, (client) => client.headers(0, requestFields(UNARY))],
    ["HEADERS on an even stream", PROTOCOL_ERROR, (client) => client.headers(2, requestFields(UNARY))],
    [
      "a stream number that went back",
      PROTOCOL_ERROR,
      (client) => client.headers(5, requestFields(STREAM)),
      (client) => client.headers(3, requestFields(STREAM)),
    ],
    [
      "HEADERS on a stream that has ended",
      STREAM_CLOSED,
      (client) => client.headers(1, requestFields("/none"), Flag.END_HEADERS | Flag.END_STREAM),
      (client) => client.headers(1, requestFields(UNARY)),
    ],
    [
      "a frame between HEADERS and CONTINUATION",
      PROTOCOL_ERROR,
      () => frame(FrameType.HEADERS, 0, 1),
      () => frame(FrameType.PING, 0, 0, Buffer.alloc(8)),
    ],
    [
      "CONTINUATION of another stream",
      PROTOCOL_ERROR,
      () => frame(FrameType.HEADERS, 0, 1),
      () => frame(FrameType.CONTINUATION, 4, 3),
    ],
    ["CONTINUATION without HEADERS", PROTOCOL_ERROR, opened, () => frame(FrameType.CONTINUATION, 4, 1)],
    [
      "a broken header block",
      COMPRESSION_ERROR,
      () => frame(FrameType.HEADERS, Flag.END_HEADERS, 1, Buffer.from("ff8080", "hex")),
    ],
    [
      "padding longer than its frame",
      PROTOCOL_ERROR,
      opened,
      () => frame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([5, 0])),
    ],
    [
      "padded HEADERS without the length of the padding",
      FRAME_SIZE_ERROR,
      () => frame(FrameType.HEADERS, Flag.PADDED | Flag.END_HEADERS, 1),
    ],
    [
      "header padding longer than its frame",
      PROTOCOL_ERROR,
      () => frame(FrameType.HEADERS, Flag.PADDED | Flag.END_HEADERS, 1, Buffer.from([5, 0x82])),
    ],
    [
      "a stream that depends on itself",
      PROTOCOL_ERROR,
      () =>
        frame(
          FrameType.HEADERS,
          Flag.PRIORITY | Flag.END_HEADERS,
          1,
          Buffer.concat([uint32(1), Buffer.from([0, 0x82])]),
        ),
    ],
    ["RST_STREAM of an idle stream", PROTOCOL_ERROR, () => frame(FrameType.RST_STREAM, 0, 1, uint32(8))],
    [
      "RST_STREAM of 3 bytes",
      FRAME_SIZE_ERROR,
      opened,
      () => frame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3)),
    ],
    ["SETTINGS on a stream", PROTOCOL_ERROR, () => frame(FrameType.SETTINGS, 0, 1)],
    ["SETTINGS of 5 bytes", FRAME_SIZE_ERROR, () => frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))],
    [
      "an acknowledgement with settings",
      FRAME_SIZE_ERROR,
      () => frame(FrameType.SETTINGS, Flag.ACK, 0, Buffer.alloc(6)),
    ],
    [
      "a push setting of 2",
      PROTOCOL_ERROR,
      () => frame(FrameType.SETTINGS, 0, 0, setting(Setting.ENABLE_PUSH, 2)),
    ],
    [
      "a window setting of 2^31",
      FLOW_CONTROL_ERROR,
      () => frame(FrameType.SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 2 ** 31)),
    ],
    [
      "a frame size setting of 100",
      PROTOCOL_ERROR,
      () => frame(FrameType.SETTINGS, 0, 0, setting(Setting.MAX_FRAME_SIZE, 100)),
    ],
    ["PUSH_PROMISE", PROTOCOL_ERROR, opened, () => frame(FrameType.PUSH_PROMISE, 4, 1, uint32(2))],
    ["PING on a stream", PROTOCOL_ERROR, () => frame(FrameType.PING, 0, 1, Buffer.alloc(8))],
    ["PING of 7 bytes", FRAME_SIZE_ERROR, () => frame(FrameType.PING, 0, 0, Buffer.alloc(7))],
    ["GOAWAY on a stream", PROTOCOL_ERROR, () => frame(FrameType.GOAWAY, 0, 1, Buffer.alloc(8))],
    [
      "a window update of 0 for the connection",
      PROTOCOL_ERROR,
      () => frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0)),
    ],
    [
      "WINDOW_UPDATE of an idle stream",
      PROTOCOL_ERROR,
      () => frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1)),
    ],
    [
      "WINDOW_UPDATE of 3 bytes",
      FRAME_SIZE_ERROR,
      () => frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.alloc(3)),
    ],
    [
      "a connection window beyond 2^31 - 1",
      FLOW_CONTROL_ERROR,
      () => frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)),
    ],
    [
      "a frame of 16,385 bytes",
      FRAME_SIZE_ERROR,
      opened,
      () => frame(FrameType.DATA, 0, 1, Buffer.alloc(16_385)),
    ],
  ];
  for (const [name, code, ...sends] of cases) {
    test(name, async () => {
      const client = await open();
      for (const send of sends) client.write(send(client));
      assert.equal(await client.goaway(), code);
      await client.end();
    });
  }
});

describe("violations that only end their stream", () => {
  const { PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR } = ErrorCode;
  const [method, scheme, path] = requestFields(UNARY);
  const withField =
    (name: string, value: string): Send =>
    (client) =>
      client.headers(1, [...requestFields(UNARY), { name, value }]);
  const length = (value: string): Send => withField("content-length", value);
  const cases: [name: string, code: number, ...send: Send[]][] = [
    ["no :path", PROTOCOL_ERROR, (client) => client.headers(1, [method, scheme])],
    [":path twice", PROTOCOL_ERROR, (client) => client.headers(1, [method, scheme, path, path])],
    [
      "an unknown pseudo field",
      PROTOCOL_ERROR,
      (client) => client.headers(1, [{ name: ":what", value: "" }, method, scheme, path]),
    ],
    [
      "a pseudo field after others",
      PROTOCOL_ERROR,
      (client) => client.headers(1, [method, { name: "te", value: "trailers" }, scheme, path]),
    ],
    ["an upper-case name", PROTOCOL_ERROR, withField("Upper", "x")],
    ["a connection field", PROTOCOL_ERROR, withField("connection", "keep-alive")],
    ["te that is not trailers", PROTOCOL_ERROR, withField("te", "gzip")],
    ["a value with a line break", PROTOCOL_ERROR, withField("x", "a\r\nb")],
    [
      "more data than content-length",
      PROTOCOL_ERROR,
      length("2"),
      () => frame(FrameType.DATA, 0, 1, Buffer.alloc(3)),
    ],
    [
      "less data than content-length",
      PROTOCOL_ERROR,
      length("7"),
      () => frame(FrameType.DATA, Flag.END_STREAM, 1, grpc(Buffer.alloc(1))),
    ],
    [
      "trailers that do not end the stream",
      PROTOCOL_ERROR,
      opened,
      (client) => client.headers(1, [{ name: "x", value: "y" }]),
    ],
    [
      "trailers with pseudo fields",
      PROTOCOL_ERROR,
      opened,
      (client) => client.headers(1, requestFields(UNARY), Flag.END_HEADERS | Flag.END_STREAM),
    ],
    [
      "data after the end",
      STREAM_CLOSED,
      opened,
      () => frame(FrameType.DATA, Flag.END_STREAM, 1),
      () => frame(FrameType.DATA, 0, 1, Buffer.alloc(1)),
    ],
    ["a window update of 0", PROTOCOL_ERROR, opened, () => frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0))],
    [
      "a window beyond 2^31 - 1",
      FLOW_CONTROL_ERROR,
      opened,
      () => frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(2 ** 31 - 1)),
    ],
    ["PRIORITY of 4 bytes", FRAME_SIZE_ERROR, opened, () => frame(FrameType.PRIORITY, 0, 1, Buffer.alloc(4))],
  ];
  for (const [name, code, ...sends] of cases) {
    test(name, async () => {
      const client = await open();
      for (const send of sends) client.write(send(client));
      assert.equal(await client.reset(1), code);
      client.request(3, UNARY, Buffer.from("goes on"));
      await client.frame(({ type, id }) => type === FrameType.DATA && id === 3);
      assert.deepEqual(client.data(3), grpc(Buffer.from("goes on")));
    });
  }

  test("more data than the window of its stream", async () => {
    const client = await open();
    // The message is never complete: flow control refuses more than its announced size first.
    const paused = await serveHttp2(
      { unary: new Map(), stream: new Map([[STREAM, (stream) => stream.pause()]]) },
      { listen: ["127.0.0.1:0"], maxReceiveBytes: 1 << 20, limits: { streamWindow: 65_535 } },
    );
    const other = await RawPeer.open(paused.addresses[0]);
    other.write(other.headers(1, requestFields(STREAM)));
    for (let i = 0; i < 5; i++) other.write(frame(FrameType.DATA, 0, 1, Buffer.alloc(15_000)));
    assert.equal(await other.reset(1), FLOW_CONTROL_ERROR);
    other.socket.destroy();
    await paused.shutdown(0);
    await client.ping();
  });
});

describe("valid but unusual", () => {
  test("frames of unknown types and unknown settings are ignored", async () => {
    const client = await open(setting(99, 5));
    client.write(frame(77, 255, 3, Buffer.from("what")));
    client.request(1, UNARY, Buffer.from("x"));
    await client.frame(({ type, id }) => type === FrameType.DATA && id === 1);
  });

  test("a header block in many pieces, with padding and priority, and trailers", async () => {
    const client = await open();
    const block = client.hpack.encode(requestFields(UNARY));
    const first = Buffer.concat([
      Buffer.from([2]),
      uint32(0),
      Buffer.from([15]),
      block.subarray(0, 3),
      Buffer.alloc(2),
    ]);
    client.write(frame(FrameType.HEADERS, Flag.PADDED | Flag.PRIORITY, 1, first));
    for (let at = 3; at < block.length; at += 7) {
      const flags = at + 7 >= block.length ? Flag.END_HEADERS : 0;
      client.write(frame(FrameType.CONTINUATION, flags, 1, block.subarray(at, at + 7)));
    }
    client.write(frame(FrameType.DATA, 0, 1, grpc(Buffer.from("pieces"))));
    client.write(client.headers(1, [{ name: "x", value: "y" }], Flag.END_HEADERS | Flag.END_STREAM));
    await client.frame(({ type, id }) => type === FrameType.DATA && id === 1);
    assert.deepEqual(client.data(1), grpc(Buffer.from("pieces")));
  });

  test("a peer without a header table gets literal fields", async () => {
    const client = await open(setting(Setting.HEADER_TABLE_SIZE, 0));
    for (const id of [1, 3]) {
      client.request(id, UNARY, Buffer.from("x"));
      const { payload } = await client.frame((each) => each.type === FrameType.HEADERS && each.id === id);
      assert.equal(client.decoder.decode(payload, 0, payload.length)["content-type"], "application/grpc");
    }
  });

  test("a window that shrinks below zero holds up data until it has grown again", async () => {
    const client = await open();
    client.request(1, UNARY, Buffer.alloc(100_000));
    await client.frame(({ type, id }) => type === FrameType.DATA && id === 1);
    await client.ping();
    assert.equal(client.data(1).length, 65_535);
    client.write(frame(FrameType.SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 10)));
    client.write(
      frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 20)),
      frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(65_525)),
    );
    await client.ping();
    assert.equal(client.data(1).length, 65_535);
    client.write(frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(34_470)));
    await client.frame(
      ({ type, id, flags }) => type === FrameType.HEADERS && id === 1 && (flags & Flag.END_STREAM) > 0,
    );
    assert.equal(client.data(1).length, 100_005);
  });

  test("a compressed message ends only its stream", async () => {
    const client = await open();
    const compressed = grpc(Buffer.from("no gzip, but nobody looks"));
    compressed[0] = 1;
    client.write(
      client.headers(1, requestFields(UNARY)),
      frame(FrameType.DATA, Flag.END_STREAM, 1, compressed),
    );
    const { payload } = await client.frame(
      ({ type, id, flags }) => type === FrameType.HEADERS && id === 1 && (flags & Flag.END_STREAM) > 0,
    );
    const trailers = client.decoder.decode(payload, 0, payload.length);
    assert.equal(trailers["grpc-status"], "12");
    assert.match(trailers["grpc-message"], /compressed/);
    client.request(3, UNARY, Buffer.from("x"));
    await client.frame(({ type, id }) => type === FrameType.DATA && id === 3);
    assert.deepEqual(client.data(3), grpc(Buffer.from("x")));
  });

  test("a request that is not gRPC gets an answer that says so", async () => {
    const client = await open();
    client.write(client.headers(1, requestFields(UNARY).slice(0, 3), Flag.END_HEADERS | Flag.END_STREAM));
    const { payload } = await client.frame(({ type, id }) => type === FrameType.HEADERS && id === 1);
    assert.equal(client.decoder.decode(payload, 0, payload.length)[":status"], "415");
    assert.match(String(client.data(1)), /gRPC/);
  });
});
