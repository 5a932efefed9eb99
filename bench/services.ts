import { Maps } from "../src/reshard/maps.js";
import { createRouter } from "../src/routing/create.js";
import { fingerprint } from "../src/routing/fingerprint.js";
import { Hasher } from "../src/routing/hash.js";
import type { Call, Reply } from "../src/rpc/call.js";
import { createIdentity } from "../src/services/identity.js";
import { createKv } from "../src/services/kv.js";
import type { ShardClient } from "../src/shard/client.js";
import { guardShard } from "../src/shard/guard.js";
import type { CallOptions, Done } from "../src/shard/shard.js";
import { ShardSet } from "../src/shard/shardSet.js";
import type { LogHost } from "../src/timeline/host.js";
import { markKey } from "../src/timeline/keys.js";
import { SharedTimeline } from "../src/timeline/timeline.js";
import { systemRuntime } from "../src/turn/runtime.js";
import { PutRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse } from "../src/wire/messages.js";
import { KV } from "../src/wire/paths.js";
import { encodeHeader, replaceHeader } from "../src/wire/rewrite.js";
import { noOtherHost } from "../test/support/maps.js";

/*
 * The cost of the proxy per request, without transports: `node --import tsx bench/services.ts`. The services, the guard and the
 * timeline are real; the shards and the timeline host respond from memory in the next turn of the event loop. Microseconds of
 * CPU time per request with several numbers of requests in flight; the best of several rounds.
 */

const SHARDS = 3;
const ROUNDS = 7;
const REQUESTS = 20_000;
const SCANS = 200;
/** Keys that a scan reads on each shard. */
const KEYS = 333;

/** First byte of a transaction without compares: reads that are sent together. */
const FIRST_OPERATION = 0x12;

const value = Buffer.alloc(256, "value ");
const header = (revision: number) => ({ clusterId: 1n, memberId: 1n, revision, raftTerm: 2 });

/** An etcd without data: it counts revisions, and returns one key for a get, and many for a range. */
class MemoryShard {
  revision = 1;
  private due: (() => void)[] = [];
  private readonly one: Uint8Array;
  private readonly many: Uint8Array;
  private readonly oneDecoded: RangeResponse;

  constructor(
    readonly index: number,
    readonly name: string,
  ) {
    this.one = keyValues(index, 1);
    this.oneDecoded = RangeResponse.decode(this.one);
    this.many = keyValues(index, KEYS);
  }

  unary(path: string, request: Uint8Array, _options: CallOptions, done: Done): () => void {
    this.later(() => done(undefined, this.answer(path, request)));
    return () => {};
  }

  call(path: string, request: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.answer(path, request));
  }

  stream(): never {
    throw new Error("not needed here");
  }

  onDisconnect(): () => void {
    return () => {};
  }

  close(): void {}

  later(action: () => void): void {
    if (this.due.push(action) > 1) return;
    setImmediate(() => {
      const { due } = this;
      this.due = [];
      for (const each of due) each();
    });
  }

  private answer(path: string, request: Uint8Array): Uint8Array {
    if (path === KV.Txn && request[0] === FIRST_OPERATION) {
      const { success } = TxnRequest.decode(request);
      const responses = success.map(() => ({ kind: "range" as const, response: this.oneDecoded }));
      return TxnResponse.encode({ header: header(this.revision), succeeded: true, responses });
    }
    if (path === KV.Txn) {
      // A put that compares gen.
      const inner = { clusterId: 0n, memberId: 0n, raftTerm: 0, revision: ++this.revision };
      const responses = [{ kind: "put" as const, response: { header: inner } }];
      return TxnResponse.encode({ header: header(this.revision), succeeded: true, responses });
    }
    const response = RangeRequest.decode(request).rangeEnd.length === 0 ? this.one : this.many;
    return replaceHeader(response, encodeHeader(header(this.revision)));
  }
}

/** A RangeResponse of an etcd with the keys of one shard. */
function keyValues(shard: number, count: number): Uint8Array {
  const kvs = Array.from({ length: count }, (_, n) => ({
    key: Buffer.from(`/bench-${n % 50}/key-${n * SHARDS + shard}`),
    value,
    createRevision: 2,
    modRevision: 2,
    version: 1,
  }));
  kvs.sort((a, b) => Buffer.compare(a.key, b.key));
  return RangeResponse.encode({ kvs, count });
}

/** The timeline log on a shard. Does not support requests of a restart or of a second proxy. */
function memoryHost(shard: MemoryShard): LogHost {
  const keys = new Map<
    string,
    { key: string; value: Uint8Array; createRevision: number; modRevision: number }
  >();
  let tail = 0;
  let changed: (change: Parameters<Parameters<LogHost["watch"]>[1]["changes"]>[0]) => void = () => {};
  return {
    label: "it",
    isConnected: true,
    load: async () => ({ revision: shard.revision, raftTerm: 2, keys: [...keys.values()] }),
    tail: async () => ({ end: tail, revision: shard.revision, raftTerm: 2 }),
    commit: (_guard, puts) =>
      new Promise((resolve) => {
        shard.later(() => {
          const previous = tail;
          const revision = ++shard.revision;
          tail = revision;
          for (const put of puts) {
            if (put.key.includes("base"))
              keys.set(put.key, { ...put, createRevision: revision, modRevision: revision });
          }
          resolve({ committed: true, revision, previous, raftTerm: 2 });
          changed([{ revision, puts: [...puts], deletes: [] }]);
        });
      }),
    append: (_guard, key, entry, done) =>
      shard.later(() => {
        const previous = tail;
        const revision = ++shard.revision;
        tail = revision;
        done(undefined, { committed: true, revision, previous, raftTerm: 2 });
        changed([{ revision, puts: [{ key, value: Buffer.from(entry) }], deletes: [] }]);
      }),
    carry: () => {
      throw new Error("not supported");
    },
    watch(_revision, events) {
      changed = (changes) => events.changes(changes);
      return () => {};
    },
  };
}

const memory = Array.from({ length: SHARDS }, (_, i) => new MemoryShard(i, `shard-${i}`));
const map = { shards: memory.map(({ name }) => ({ name, weight: 1 })), rules: [] };
const router = await createRouter(map);
const maps = new Maps(await Hasher.load());
const { text: mapText } = await fingerprint(map);
maps.adopt(mapText, router);
const timeline = new SharedTimeline(SHARDS, {
  host: memoryHost(memory[0]),
  hostShard: 0,
  hostOf: noOtherHost,
  proxy: "bench",
  map: mapText,
  maps,
  runtime: systemRuntime,
  genesis: async () => ({ revisions: memory.map(({ revision }) => revision), clusterIds: ["1", "1", "1"] }),
  accept: () => {},
});
await timeline.open();
const shards = ShardSet.of(memory).map((shard, index) =>
  guardShard(
    shard as unknown as ShardClient,
    () => timeline.cut(index),
    () => "1",
    systemRuntime,
  ),
);
const kv = createKv({
  router,
  timeline,
  shards,
  identity: createIdentity({ clusterId: 1n, memberId: 1n, timeline }),
  leases: {
    isPlaced: () => true,
    ensurePlaced: () => Promise.resolve(),
    keysElsewhere: () => Promise.resolve([]),
    keysOf: () => Promise.resolve([]),
    exists: () => Promise.resolve(true),
    repair: () => Promise.resolve(),
  },
  gen: { key: markKey("0123456789abcdef"), isOnAllShards: () => true },
  limits: { maxRequestBytes: 1 << 20, maxTxnOps: 128, requestTimeoutMs: 7_000 },
  log: { warn: () => {} },
});

const call: Call = {
  path: "",
  metadata: { get: () => undefined },
  deadline: Number.POSITIVE_INFINITY,
  cancelled: false,
  onCancel: () => () => {},
};
const keys = Array.from({ length: 1000 }, (_, n) => Buffer.from(`/bench-${n % 50}/key-${n}`));
const puts = keys.map((key) => PutRequest.encode({ key, value }));
const scan = RangeRequest.encode({ key: Buffer.from("/bench-"), rangeEnd: Buffer.from("/bench.") });
const ranges = keys.map((key) => RangeRequest.encode({ key }));

for (const inFlight of [1, 64, 256]) {
  await measure(`put, ${inFlight} in flight`, KV.Put, puts, inFlight);
  await measure(`range, ${inFlight} in flight`, KV.Range, ranges, inFlight);
}
await measure(`scan of ${KEYS * SHARDS} keys`, KV.Range, [scan], 1, SCANS);
kv.stop?.();
timeline.close();

async function measure(
  what: string,
  path: string,
  requests: Uint8Array[],
  inFlight: number,
  count = REQUESTS,
): Promise<void> {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = process.cpuUsage();
    await run(path, requests, inFlight, count);
    const { user, system } = process.cpuUsage(started);
    best = Math.min(best, (user + system) / count);
  }
  console.log(`${what.padEnd(24)} ${best.toFixed(2).padStart(8)} µs`);
}

function run(path: string, requests: Uint8Array[], inFlight: number, count: number): Promise<void> {
  const handler = kv.unary.get(path)!;
  return new Promise((resolve, reject) => {
    let sent = 0;
    let answered = 0;
    const reply: Reply = (error) => {
      if (error !== undefined) reject(error);
      else if (++answered === count) resolve();
      else if (sent < count) next();
    };
    const next = () => handler(call, requests[sent++ % requests.length], reply);
    for (let i = 0; i < inFlight; i++) next();
  });
}
