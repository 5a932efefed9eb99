import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { after, before, test } from "node:test";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { freePort } from "../../src/dev/ports.js";
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from "../../src/http2/protocol.js";
import { packageRoot } from "../../src/ops/package.js";
import {
  LeaseKeepAliveRequest,
  PutRequest,
  RangeRequest,
  WatchCreateRequest,
  WatchRequest,
} from "../../src/wire/messages.js";
import { KV, Lease, Watch } from "../../src/wire/paths.js";
import { AuthClient } from "../auth/client.js";
import { OWN, startGuardedStore } from "../auth/support.js";
import { frame, grpc, RawPeer, requestFields, setting, uint32 } from "../http2/raw.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { dial, dialMany, flood, GoodClient, type Retreat, withstand } from "./support.js";

/** Fewer than the default, so that fewer connections exceed it. */
const MAX_CONNECTIONS = 400;
const MAX_STREAMS = 1_000;
const LARGE = Buffer.from("large");
const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

let plain: TestStore;
let guarded: TestStore;
/** The port of the metrics of `plain`. */
let metricsPort: number;
const good = new Map<TestStore, GoodClient>();

before(async () => {
  metricsPort = await freePort();
  [plain, guarded] = await Promise.all([
    startStore({
      shards: 2,
      config: {
        limits: { maxConnections: MAX_CONNECTIONS },
        http2: { maxStreams: MAX_STREAMS },
        metrics: { listen: `127.0.0.1:${metricsPort}` },
      },
    }),
    startGuardedStore({ shards: 2 }),
  ]);
  const root = new AuthClient(guarded.endpoint);
  good.set(plain, new GoodClient(plain.endpoint));
  good.set(guarded, new GoodClient(guarded.endpoint, await root.login(OWN.user, OWN.password)));
  root.close();
  const writer = new AuthClient(plain.endpoint);
  await writer.call(KV.Put, PutRequest.encode({ key: LARGE, value: Buffer.alloc(1 << 20, "v") }));
  writer.close();
});

after(async () => {
  for (const client of good.values()) await client.stop();
  await plain?.remove();
  await guarded?.remove();
});

interface Attack {
  /** The limit that it attacks, as in docs/limits.md. */
  readonly what: string;
  /** Default: the store without authentication. */
  readonly on?: () => TestStore;
  /** How much the proxy may grow, in MiB. Default: `MAX_GROWTH_MIB`. */
  readonly growth?: number;
  begin(store: TestStore): Promise<Retreat>;
}

const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const chunkedPost = (path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
const chunk = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n`;
const empty = Buffer.alloc(0);

/** An attack with raw bytes. */
const over = (connections: number, each: (socket: Socket) => void) => (store: TestStore) =>
  Promise.resolve(dialMany(store.proxies[0], connections, each));

/** An attack over HTTP/2. */
const overHttp2 =
  (connections: number, each: (peer: RawPeer) => unknown, settings = empty) =>
  async (store: TestStore): Promise<Retreat> => {
    const peers = await Promise.all(
      Array.from({ length: connections }, () => RawPeer.open(store.endpoint, settings)),
    );
    for (const peer of peers) await each(peer);
    return () => {
      for (const { socket } of peers) socket.destroy();
    };
  };

/** An attack with `count` messages on one stream. `reads`: the client reads, and waits until most messages are answered. */
const onStream =
  (path: string, count: number, message: (i: number) => Uint8Array, reads: boolean) =>
  async (store: TestStore): Promise<Retreat> => {
    const client = new Client(store.endpoint, credentials.createInsecure());
    const same = (bytes: Buffer) => bytes;
    const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(path, same, same);
    let answers = 0;
    let ended = false;
    stream.on("error", () => {
      ended = true;
    });
    if (reads) stream.on("data", () => answers++);
    else stream.pause();
    for (let i = 0; i < count && !ended; i++) {
      stream.write(Buffer.from(message(i)));
      if (reads && i % 500 === 499) await until("most are answered", () => ended || answers > i - 2_000);
    }
    return () => {
      stream.cancel();
      client.close();
    };
  };

const attacks: readonly Attack[] = [
  {
    what: "Connections",
    begin: over(MAX_CONNECTIONS + 300, (socket) => socket.resume()),
  },
  {
    what: "Silent connections",
    begin: async (store) => {
      const beginnings = ["", "GET / HTTP/1.1\r\nHost:", PREFACE.subarray(0, 10), PREFACE];
      const sockets = beginnings.flatMap((bytes) =>
        Array.from({ length: 50 }, () => {
          const socket = dial(store.proxies[0]);
          socket.resume();
          if (bytes.length > 0) socket.write(bytes);
          return socket;
        }),
      );
      return () => until("all are closed by the proxy", () => sockets.every((socket) => socket.closed));
    },
  },
  {
    what: "HTTP/1.1: pipelined requests",
    begin: over(50, (socket) =>
      flood(socket, Buffer.from("GET /version HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000)), 4),
    ),
  },
  {
    what: "HTTP/1.1: unread responses",
    begin: over(12, (socket) => {
      const body = JSON.stringify({ key: LARGE.toString("base64") });
      socket.write(post("/v3/kv/range", body).repeat(100));
    }),
  },
  {
    what: "HTTP/1.1: headers and trailers",
    begin: async (store) => {
      const line = Buffer.from(`x: ${"y".repeat(1_000)}\r\n`.repeat(100));
      const beginnings = ["GET / HTTP/1.1\r\nHost: x\r\n", `${chunkedPost("/v3/kv/range")}0\r\n`];
      const retreats = beginnings.map((bytes) =>
        dialMany(store.proxies[0], 30, (socket) => {
          socket.write(bytes);
          flood(socket, line, 20);
        }),
      );
      return () => retreats.map((retreat) => retreat());
    },
  },
  {
    what: "HTTP/1.1: upgrades",
    begin: over(100, (socket) => {
      const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n";
      flood(socket, Buffer.from(`GET /v3/watch HTTP/1.1\r\nHost: x\r\n${upgrade}`), 100);
      socket.write("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n");
    }),
  },
  {
    what: "JSON: bodies",
    begin: over(8, (socket) => {
      socket.write(chunkedPost("/v3/kv/put"));
      flood(socket, Buffer.from(chunk("[".repeat(10_000))), 2_000);
    }),
  },
  {
    what: "JSON: messages of a stream",
    begin: over(20, (socket) => {
      socket.write(chunkedPost("/v3/lease/keepalive"));
      flood(socket, Buffer.from(chunk('{"ID":"123456789"}'.repeat(1_000))), 50);
    }),
  },
  {
    what: "HTTP/2: streams",
    begin: overHttp2(1, (peer) => {
      for (let id = 1; id < 2 * 3 * MAX_STREAMS; id += 2)
        peer.write(peer.headers(id, requestFields(Watch.Watch)));
    }),
  },
  {
    what: "HTTP/2: empty frames",
    begin: overHttp2(3, ({ socket }) =>
      flood(socket, Buffer.concat(Array(1_000).fill(frame(FrameType.PING, 0, 0, uint32(1, 2)))), 100),
    ),
  },
  {
    what: "HTTP/2: streams reset",
    begin: overHttp2(3, (peer) => {
      const get = grpc(RangeRequest.encode({ key: LARGE }));
      for (let id = 1; id < 2 * 4_000; id += 2) {
        peer.write(
          peer.headers(id, requestFields(KV.Range)),
          frame(FrameType.DATA, Flag.END_STREAM, id, get),
          frame(FrameType.RST_STREAM, 0, id, uint32(ErrorCode.CANCEL)),
        );
      }
    }),
  },
  {
    what: "HTTP/2: incomplete messages",
    begin: overHttp2(1, (peer) => {
      const part = Buffer.concat([Buffer.from([0]), uint32(1_000_000), Buffer.alloc(16_000)]);
      for (let id = 1; id < 2 * MAX_STREAMS; id += 2) {
        peer.write(peer.headers(id, requestFields(KV.Put)), frame(FrameType.DATA, 0, id, part));
      }
    }),
  },
  {
    what: "HTTP/2: unread responses",
    begin: overHttp2(
      1,
      (peer) => {
        for (let id = 1; id < 2 * 60; id += 2)
          peer.request(id, KV.Range, RangeRequest.encode({ key: LARGE }));
      },
      setting(Setting.INITIAL_WINDOW_SIZE, 0),
    ),
  },
  {
    what: "Watches",
    growth: 300,
    begin: onStream(
      Watch.Watch,
      160_000,
      (i) => WatchRequest.encode({ kind: "create", request: { ...NO_WATCH, key: Buffer.from(`key/${i}`) } }),
      true,
    ),
  },
  {
    what: "Lease keep-alives",
    begin: onStream(
      Lease.LeaseKeepAlive,
      100_000,
      (i) => LeaseKeepAliveRequest.encode({ id: BigInt(i + 1) }),
      false,
    ),
  },
  {
    what: "Logins",
    on: () => guarded,
    begin: async (store) => {
      // Over many connections, because each has only some calls in progress.
      const clients = Array.from({ length: 50 }, () => new AuthClient(store.endpoint));
      const refused = await Promise.all(
        Array.from({ length: 2_000 }, (_, i) =>
          clients[i % clients.length]!.login("root", `guess ${i}`).then(String, String),
        ),
      );
      const busy = refused.filter((text) => text.includes("too many requests")).length;
      // Those that run or wait are let in, and some more if the first ones have ended meanwhile.
      assert.ok(busy > 1_000 && busy <= 2_000 - 8 - 256, `${busy} were refused`);
      assert.ok(refused.every((text) => /too many requests|authentication failed/.test(text)));
      return () => {
        for (const client of clients) client.close();
      };
    },
  },
  {
    what: "Reflection",
    begin: onStream(REFLECTION, 50_000, () => Buffer.from([0x3a, 1, 0x2a]), false),
  },
  {
    what: "Pages",
    begin: over(20, (socket) => {
      socket.resume();
      flood(socket, Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    }),
  },
  {
    what: "The pages of `metrics.listen`",
    begin: async () => {
      const requests = Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000));
      const retreat = dialMany({ port: metricsPort }, 50, (socket) => flood(socket, requests, 4));
      const more = dialMany({ port: metricsPort }, 600, (socket) => socket.resume());
      return () => {
        retreat();
        more();
      };
    },
  },
];

const NO_WATCH = WatchCreateRequest.decode(empty);

for (const { what, on = () => plain, growth, begin } of attacks) {
  test(what, async () => {
    const store = on();
    await withstand(store.proxies[0], good.get(store)!, () => begin(store), { growth });
  });
}

test("docs/limits.md lists every attack, and a test for every other limit", () => {
  const lines = readFileSync(`${packageRoot}/docs/limits.md`, "utf8").split("\n");
  const rows = lines.filter((line) => line.startsWith("| ") && !/^\| (what|---) \|/.test(line));
  const cells = rows.map((row) => row.slice(2, -2).split(" | "));
  const attacked = cells.filter((each) => each.at(-1) === "attack").map(([what]) => what);
  assert.deepEqual(attacked.sort(), attacks.map(({ what }) => what).sort());
  for (const [what, , , , file] of cells) {
    assert.ok(file === "attack" || existsSync(`${packageRoot}/${file}`), `${what}: no test ${file}`);
  }
  assert.ok(cells.length > attacks.length);
});
