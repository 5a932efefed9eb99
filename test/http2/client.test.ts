import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, test } from "node:test";
import { type CallStatus, type ClientCall, ClientConnection } from "../../src/http2/client.js";
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from "../../src/http2/protocol.js";
import { SharedBytes } from "../../src/stats/connections.js";
import { Code } from "../../src/status/error.js";
import { SERVER_LIMITS } from "../../src/transport/http2/serve.js";
import { frame, grpc, RawPeer, setting, uint32 } from "./raw.js";
import { randomOf } from "./support.js";

const PATH = "/test.Test/Call";
const LIMITS = { ...SERVER_LIMITS, maxBufferedBytes: Number.POSITIVE_INFINITY };
const HEAD = [
  { name: ":status", value: "200" },
  { name: "content-type", value: "application/grpc" },
];
const OK = [{ name: "grpc-status", value: "0" }];

let listener: Server;
const sockets = new Set<Socket>();
beforeEach(async () => {
  listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  listener.close();
});

interface Pair {
  readonly client: ClientConnection;
  readonly server: RawPeer;
  readonly happened: string[];
}

async function pair(
  settings: Uint8Array = Buffer.alloc(0),
  limits = LIMITS,
  answers?: SharedBytes,
): Promise<Pair> {
  const accepted = once(listener, "connection") as Promise<[Socket]>;
  const socket = connect((listener.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  const happened: string[] = [];
  let ready: () => void;
  const isReady = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const client = new ClientConnection(
    socket,
    limits,
    "test",
    "test",
    {
      ready: () => ready(),
      heard: () => {},
      draining: () => happened.push("draining"),
      closed: () => {
        happened.push("closed");
        ready();
      },
    },
    answers,
  );
  const [other] = await accepted;
  sockets.add(socket).add(other);
  const server = new RawPeer(other, PREFACE.length);
  server.write(frame(FrameType.SETTINGS, 0, 0, settings));
  await isReady;
  return { client, server, happened };
}

interface Running {
  readonly call: ClientCall;
  readonly messages: string[];
  readonly ended: Promise<CallStatus>;
}

function begin(client: ClientConnection, message: string | null = "question"): Running {
  const messages: string[] = [];
  let end: (status: CallStatus) => void = () => {};
  const ended = new Promise<CallStatus>((resolve) => {
    end = resolve;
  });
  const call = client.begin(PATH, undefined, {
    message: (each) => messages.push(String(each)),
    ended: (status) => end(status),
  });
  if (message !== null) call.sendAndEnd(Buffer.from(message));
  return { call, messages, ended };
}

/** Resolves when the request of stream `id` is complete. */
const asked = (server: RawPeer, id: number) =>
  server.frame(
    (each) => each.id === id && each.type === FrameType.DATA && (each.flags & Flag.END_STREAM) > 0,
  );

function answer(server: RawPeer, id: number, ...messages: string[]): void {
  server.write(server.headers(id, HEAD));
  for (const message of messages) server.write(frame(FrameType.DATA, 0, id, grpc(Buffer.from(message))));
  server.write(server.headers(id, OK, Flag.END_HEADERS | Flag.END_STREAM));
}

test("a call and its answer", async () => {
  const { client, server } = await pair();
  const { messages, ended } = begin(client);
  await asked(server, 1);
  assert.deepEqual(server.data(1), grpc(Buffer.from("question")));
  const head = await server.frame(({ type }) => type === FrameType.HEADERS);
  const fields = server.decoder.decode(head.payload, 0, head.payload.length);
  assert.deepEqual(fields, {
    ":method": "POST",
    ":scheme": "http",
    ":path": PATH,
    ":authority": "test",
    te: "trailers",
    "content-type": "application/grpc",
    "user-agent": "test",
  });
  answer(server, 1, "answer");
  assert.deepEqual(await ended, { code: 0, details: "", fate: "answered" });
  assert.deepEqual(messages, ["answer"]);
});

test("an answer in pieces of 1 to 7 bytes", async () => {
  for (let size = 1; size <= 7; size++) {
    const { client, server } = await pair();
    const { messages, ended } = begin(client);
    await asked(server, 1);
    const bytes = Buffer.concat([
      server.headers(1, HEAD),
      ...["first", "", "x".repeat(300)].map((each) => frame(FrameType.DATA, 0, 1, grpc(Buffer.from(each)))),
      server.headers(1, OK, Flag.END_HEADERS | Flag.END_STREAM),
    ]);
    for (let at = 0; at < bytes.length; at += size) client.take(Buffer.from(bytes.subarray(at, at + size)));
    assert.equal((await ended).code, Code.OK);
    assert.deepEqual(messages, ["first", "", "x".repeat(300)], `pieces of ${size}`);
  }
});

test("a request to a server that grants one byte at a time", async () => {
  const { client, server } = await pair(setting(Setting.INITIAL_WINDOW_SIZE, 1));
  const question = grpc(Buffer.from("question"));
  const { messages, ended } = begin(client);
  for (let sent = 1; sent < question.length; sent++) {
    while (server.data(1).length < sent) await server.more();
    assert.deepEqual(server.data(1), question.subarray(0, sent));
    server.write(frame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1)));
  }
  await asked(server, 1);
  assert.deepEqual(server.data(1), question);
  answer(server, 1, "answer");
  assert.equal((await ended).code, Code.OK);
  assert.deepEqual(messages, ["answer"]);
});

test("calls beyond the server's limit of streams wait, with all their messages", async () => {
  const { client, server } = await pair(setting(Setting.MAX_CONCURRENT_STREAMS, 1));
  const first = begin(client, "first");
  const cancelled = begin(client, "cancelled");
  const second = begin(client, "second");
  cancelled.call.cancel();
  await asked(server, 1);
  assert.ok(!server.frames.some(({ id }) => id === 3));
  answer(server, 1, "a");
  await first.ended;
  await asked(server, 3);
  assert.deepEqual(server.data(3), grpc(Buffer.from("second")));
  answer(server, 3, "b");
  await second.ended;
  assert.deepEqual([first.messages, cancelled.messages, second.messages], [["a"], [], ["b"]]);
});

describe("how calls end without an answer", () => {
  test("GOAWAY: calls above the last stream are unsent, the others go on", async () => {
    const { client, server, happened } = await pair();
    const [first, second] = [begin(client), begin(client)];
    await asked(server, 3);
    server.write(frame(FrameType.GOAWAY, 0, 0, uint32(1, ErrorCode.NO_ERROR)));
    assert.equal((await second.ended).fate, "unsent");
    assert.equal(client.ready, false);
    assert.deepEqual(happened, ["draining"]);
    assert.equal((await begin(client).ended).fate, "unsent");
    answer(server, 1, "still");
    assert.equal((await first.ended).code, 0);
    await server.end();
  });

  test("a refused stream is unsent", async () => {
    const { client, server } = await pair();
    const { ended } = begin(client);
    await asked(server, 1);
    server.write(frame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.REFUSED_STREAM)));
    assert.deepEqual((await ended).fate, "unsent");
  });

  test("any other reset and a lost connection are lost", async () => {
    const { client, server, happened } = await pair();
    const [reset, cut] = [begin(client), begin(client)];
    await asked(server, 3);
    server.write(frame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.INTERNAL_ERROR)));
    assert.equal((await reset.ended).fate, "lost");
    server.socket.destroy();
    const { code, fate } = await cut.ended;
    assert.deepEqual([code, fate], [Code.UNAVAILABLE, "lost"]);
    assert.deepEqual(happened, ["closed"]);
  });

  test("malformed answers", async () => {
    const { client, server } = await pair();
    const end = Flag.END_HEADERS | Flag.END_STREAM;
    const status = (value: string) => [{ name: ":status", value }];
    const answers: [code: Code, ...frames: ((id: number) => Buffer)[]][] = [
      [Code.UNAVAILABLE, (id) => server.headers(id, status("503"), end)],
      [Code.UNIMPLEMENTED, (id) => server.headers(id, status("404"))],
      [Code.UNKNOWN, (id) => server.headers(id, status("200"))],
      [Code.INTERNAL, (id) => server.headers(id, HEAD), (id) => frame(FrameType.DATA, Flag.END_STREAM, id)],
      [Code.INTERNAL, (id) => server.headers(id, HEAD), (id) => server.headers(id, OK)],
      [
        Code.INTERNAL,
        (id) => server.headers(id, HEAD),
        (id) => frame(FrameType.DATA, 0, id, Buffer.from([1, 0, 0, 0, 0])),
      ],
      [
        Code.INTERNAL,
        (id) => server.headers(id, HEAD),
        (id) => frame(FrameType.DATA, 0, id, Buffer.from([0, 0, 0, 0, 5, 1])),
        (id) => server.headers(id, OK, end),
      ],
    ];
    for (const [i, [code, ...frames]] of answers.entries()) {
      const { ended } = begin(client);
      await asked(server, 1 + 2 * i);
      for (const each of frames) server.write(each(1 + 2 * i));
      assert.equal((await ended).code, code, `answer ${i}`);
    }
    assert.equal(client.streams.size, 0);
  });
});

test("a cancelled call is reset, and later frames for it are ignored", async () => {
  const { client, server } = await pair();
  const { call, messages } = begin(client);
  await asked(server, 1);
  call.cancel();
  assert.equal(await server.reset(1), ErrorCode.CANCEL);
  answer(server, 1, "too late");
  const next = begin(client);
  await asked(server, 3);
  answer(server, 3, "next");
  assert.equal((await next.ended).code, 0);
  assert.deepEqual([messages, next.messages], [[], ["next"]]);
});

test("a resumed call gets all messages, its end last", async () => {
  const { client, server } = await pair();
  const { call, messages, ended } = begin(client);
  let over = false;
  void ended.then(() => {
    over = true;
  });
  call.pause();
  await asked(server, 1);
  answer(server, 1, "a", "b", "c");
  await server.ping();
  assert.deepEqual([messages, over], [[], false]);
  call.resume();
  assert.deepEqual(messages, ["a", "b", "c"]);
  assert.equal((await ended).code, 0);
  assert.equal(client.streams.size, 0);
});

test("an answer before the end of the request ends the call on both sides", async () => {
  const { client, server } = await pair();
  const { call, ended } = begin(client, null);
  call.send(Buffer.from("part"));
  await server.frame(({ type }) => type === FrameType.DATA);
  answer(server, 1, "enough");
  assert.equal((await ended).code, 0);
  assert.equal(await server.reset(1), ErrorCode.CANCEL);
  call.send(Buffer.from("dropped"));
});

test("random bytes and frames from a server: calls end or go on, nothing throws", async () => {
  const random = randomOf();
  const end = Date.now() + Number(process.env.FUZZ_MS ?? 2_000);
  while (Date.now() < end) {
    const { client, server } = await pair();
    const calls = [begin(client), begin(client)];
    for (let i = random.below(15); i > 0; i--) {
      const id = [0, 1, 3, 5, 2][random.below(5)];
      const noise = Buffer.from(Array.from({ length: random.below(30) }, () => random.below(256)));
      const head = random.below(2) === 0 ? HEAD : OK;
      const frames = [
        () =>
          server.headers(
            id,
            head,
            random.below(2) === 0 ? Flag.END_HEADERS : Flag.END_HEADERS | Flag.END_STREAM,
          ),
        () => frame(FrameType.DATA, random.below(2), id, grpc(noise)),
        () => frame(random.below(11), random.below(256), id, noise),
      ];
      server.write(frames[random.below(3)]());
    }
    server.socket.end();
    // Each call ends exactly once, at the latest with the connection.
    await Promise.all(calls.map(({ ended }) => ended));
    server.socket.destroy();
  }
});

test("large answers in flight are bounded for all connections together; small ones are exempt", async () => {
  const answers = new SharedBytes();
  answers.connections = 2;
  const limits = { ...LIMITS, maxBufferedTotal: 100_000, freeMessageBytes: 10_000 };
  const pairs = [await pair(undefined, limits, answers), await pair(undefined, limits, answers)];
  const [first, second] = await Promise.all(
    pairs.map(async ({ client, server }) => {
      const calls = [1, 3, 5].map(() => begin(client));
      for (const id of [1, 3, 5]) {
        await asked(server, id);
        server.write(server.headers(id, HEAD));
      }
      return { client, server, calls };
    }),
  );
  const part = (size: number, sent: number) =>
    Buffer.concat([Buffer.from([0]), uint32(size), Buffer.alloc(sent)]);
  const send = (server: RawPeer, id: number, bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += 16_384) {
      server.write(frame(FrameType.DATA, 0, id, bytes.subarray(at, at + 16_384)));
    }
  };
  const buffered = async (bytes: number) => {
    while (answers.bytes < bytes) await new Promise((resolve) => setImmediate(resolve));
  };
  // One after the other: the first, which has more than a half, would be refused if it came last.
  send(first.server, 1, part(70_000, 60_000));
  await buffered(60_000);
  send(second.server, 1, part(70_000, 45_000));
  await buffered(100_000);
  // Together they exceed the bound; the first has more than half of it.
  send(first.server, 3, part(20_000, 5_000));
  const { code, details, fate } = await first.calls[1].ended;
  assert.deepEqual([code, fate], [Code.RESOURCE_EXHAUSTED, "answered"]);
  assert.match(details, /too many large answers/);
  assert.equal(await first.server.reset(3), ErrorCode.CANCEL);
  send(first.server, 5, part(9_000, 8_000));
  send(first.server, 5, Buffer.alloc(1_000, "x"));
  first.server.write(first.server.headers(5, OK, Flag.END_HEADERS | Flag.END_STREAM));
  assert.equal((await first.calls[2].ended).code, Code.OK);
  send(first.server, 1, Buffer.alloc(10_000));
  for (const { client } of [first, second]) client.destroy("done");
  assert.equal(answers.bytes, 0);
});
