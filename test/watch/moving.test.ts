import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { parseConfig } from "../../src/config/load.js";
import { createLog } from "../../src/ops/log.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { createIdentity } from "../../src/services/identity.js";
import { createWatch, type WatchService } from "../../src/services/watch.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { type Event, FilterType, WatchRequest, WatchResponse } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { type Ask, openPlain, openProxy, type TestProxy } from "../kv/pair.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { until } from "../support/until.js";
import { RealMover, type Stage } from "./realMover.js";
import { TestStream } from "./service.js";
import { bytes, text } from "./support.js";

/*
 * Keys move between the shards of a store. Its watches must bring the same events as those of a plain etcd that got the same
 * writes, except that the store skips revisions. The prefixes a, b and c are pinned to the shards 0, 1 and 2, and move to 1,
 * 2 and 0.
 */

let etcds: readonly EtcdProcess[];
let proxy: TestProxy;
let service: WatchService;
let shards: readonly Ask[];
let plain: Ask;
let plainShard: ShardClient;
let mover: RealMover;
const closers: (() => void)[] = [];
/** Revision of the plain etcd → revision of the store. */
const revisions = new Map<number, number>();

before(async () => {
  etcds = await startEtcds(4);
  proxy = await openProxy(etcds.slice(0, 3));
  const asks = etcds.map(openPlain);
  shards = asks.slice(0, 3).map(({ ask }) => ask);
  plain = asks[3]!.ask;
  const log = createLog("silent");
  const { store } = proxy;
  const timeouts = { requestTimeoutMs: 20_000, connectTimeoutMs: 5_000 };
  plainShard = openShard({ index: 0, name: "plain", endpoints: [etcds[3]!.endpoint], ...timeouts, log });
  const { timeline } = store;
  const identity = createIdentity({ clusterId: store.id, memberId: 7n, timeline });
  // So little history that watches from the past need replays.
  const limits = {
    ...parseConfig(configText([0, 1, 2]), "test").watch,
    historyBytes: 2_000,
    progressNotifyMs: 100,
  };
  service = createWatch({ timeline, shards: store.shards, identity, limits, log, runtime: systemRuntime });
  mover = new RealMover(timeline, shards);
  closers.push(
    ...asks.map(({ close }) => close),
    () => plainShard.close(),
    () => service.stop?.(),
    () => proxy.stop(),
  );
});
after(async () => {
  for (const close of closers) close();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

const configText = (places: readonly number[]): string =>
  JSON.stringify({
    shards: etcds.slice(0, 3).map(({ endpoint }, i) => ({ name: `shard${i}`, endpoints: [endpoint] })),
    routing: {
      rules: ["a", "b", "c"].map((prefix, i) => ({ prefix, segments: 0, shard: `shard${places[i]}` })),
    },
  });

const mapOf = async (places: readonly number[]): Promise<string> =>
  (await fingerprint(parseConfig(configText(places), "test").map)).text;

type Method = "put" | "deleteRange" | "txn";

/** Makes a write on the shard of `key` and on the plain etcd. */
async function write(key: string, method: Method, request: object): Promise<void> {
  const { timeline } = proxy.store;
  const shard = timeline.locator.shardOf(bytes(key));
  const [ours, theirs] = await Promise.all([
    shards[shard]!(method, request as never),
    plain(method, request as never),
  ]);
  const at = ours.header!.revision;
  await timeline.seal(shard, at, true);
  revisions.set(theirs.header!.revision, timeline.toRevision(shard, at));
}

const put = (key: string, value: string, lease = 0n) =>
  write(key, "put", { key: bytes(key), value: bytes(value), lease });
const remove = (key: string) => write(key, "deleteRange", { key: bytes(key) });

interface Watching {
  readonly name: string;
  readonly ours: TestStream;
  readonly theirs: WatchResponse[];
}

interface Wanted {
  readonly key: string;
  readonly end?: string;
  readonly more?: object;
}

const WANTED: readonly Wanted[] = [
  { key: "\0", end: "\0" },
  { key: "\0", end: "\0", more: { prevKv: true, fragment: true } },
  { key: "a", end: "b", more: { prevKv: true, progressNotify: true } },
  { key: "b", end: "d" },
  { key: "a1", more: { prevKv: true } },
  { key: "a1", more: { filters: [FilterType.NODELETE] } },
  { key: "b1", end: "c2", more: { filters: [FilterType.NOPUT], prevKv: true } },
  { key: "quiet", end: "quiet~", more: { progressNotify: true } },
];

/** Opens all kinds of watches on both, from the plain etcd's revision `from` on; 0 means now. */
async function watchAll(tag: string, from: number): Promise<Watching[]> {
  const opened: Watching[] = [];
  for (const { key, end, more } of WANTED) {
    const request = { key: bytes(key), ...(end !== undefined && { rangeEnd: bytes(end) }), ...more };
    const ours = new TestStream(Watch.Watch, 1 << 20);
    service.stream.get(Watch.Watch)!(ours);
    ours.create({ ...request, startRevision: revisions.get(from) ?? from });
    const theirs: WatchResponse[] = [];
    const created = new Promise<void>((resolve) => {
      const stream = plainShard.stream(Watch.Watch, {
        message: (message) => {
          theirs.push(WatchResponse.decode(message));
          resolve();
        },
        closed: () => {},
      });
      stream.send(WatchRequest.encode({ kind: "create", request: { ...request, startRevision: from } }));
      closers.push(
        () => stream.cancel(),
        () => ours.cancel(),
      );
    });
    await Promise.all([created, ours.until(() => ours.frames.length > 0)]);
    opened.push({ name: `${tag}: ${key} ${JSON.stringify(more ?? {})}`, ours, theirs });
  }
  return opened;
}

const eventsOf = (frames: readonly WatchResponse[]): readonly Event[] =>
  frames.flatMap(({ events }) => events);

/** Events as text, with the store's revisions. */
function shown(events: readonly Event[], map: (revision: number) => number | undefined): string[] {
  const kvOf = (kv: Event["kv"]) =>
    kv &&
    `${text(kv.key)}=${text(kv.value)} ${kv.createRevision && map(kv.createRevision)} ${map(kv.modRevision)} v${kv.version} l${kv.lease}`;
  return events.map(({ type, kv, prevKv }) => `${type} ${kvOf(kv)} before ${kvOf(prevKv)}`);
}

async function compare(watching: readonly Watching[], last: number): Promise<void> {
  for (const { name, ours, theirs } of watching) {
    for (const frame of ours.frames) assert.ok(!frame.canceled, `${name}: ${frame.cancelReason}`);
    const wanted = () => shown(eventsOf(theirs), (revision) => revisions.get(revision));
    const got = () => shown(eventsOf(ours.frames), (revision) => revision);
    ours.receive(WatchRequest.encode({ kind: "progress" }));
    await ours.until(() =>
      ours.frames.some(({ watchId, header }) => watchId === -1 && header!.revision >= last),
    );
    await until("the plain etcd's events arrive", () => wanted().length >= got().length);
    assert.deepEqual(got(), wanted(), name);
    let covered = 0;
    for (const { header, events } of ours.frames) {
      for (const { kv } of events)
        assert.ok(kv!.modRevision > covered, `${name}: ${kv!.modRevision} after ${covered}`);
      covered = Math.max(covered, header!.revision);
    }
  }
}

test("watches bring a plain etcd's events while keys move, from now and from the past", async () => {
  const { timeline } = proxy.store;
  const watching: Watching[] = [];
  let round = 0;
  const work = async (keys: readonly string[]) => {
    round++;
    for (const key of keys) await put(key, `${key} ${round}`);
    if (round % 2 === 0) await remove(keys[0]!);
  };
  const all = ["a1", "b1", "c1", "a2", "b2", "c2", "x"];
  await work(all);
  await work(all);
  await write("a3", "txn", {
    success: ["a3", "a4"].map((key) => ({ kind: "put", request: { key: bytes(key), value: bytes("both") } })),
  });
  const past = [...revisions.keys()];
  const early = past[3]!;
  watching.push(...(await watchAll("before the plan", 0)));

  const lease = { id: 77n, ttl: 3_600 };
  for (const ask of [...shards, plain]) await ask("grant", lease);
  await put("a5", "leased", 77n);
  await put("a6", "leased", 77n);
  await mover.plan(await mapOf([1, 2, 0]));
  await work(all);
  // Nothing of the step may be delivered above the freeze before it is thawed or moved.
  await mover.freezeOnly(bytes("b"), () => work(["b1", "c1", "x"]));
  const steps: Bound[] = [bytes("b"), bytes("c"), null];
  for (const [index, to] of steps.entries()) {
    const free = all.filter((key) => "abc".indexOf(key[0]!) !== index);
    const hook = async (stage: Stage) => {
      await work(stage === "copied" || stage === "moved" || stage === "cleaned" ? all : free);
      if (stage !== "cleaned")
        watching.push(...(await watchAll(`step ${index} ${stage}`, stage === "ready" ? early : 0)));
      // A lease ends on the destination when it is ready, and its keys with it.
      if (index !== 0 || stage !== "ready") return;
      const { header } = await shards[1]!("revoke", { id: 77n });
      await timeline.seal(1, header!.revision, true);
    };
    const m = async (stage: Stage) => {
      if (stage === "moved" && index === 0) {
        // The plain etcd's lease ends with the move.
        const { header } = await plain("revoke", { id: 77n });
        revisions.set(header!.revision, timeline.placement.moves.at(-1)!.revision);
      }
      await hook(stage);
    };
    await mover.step(to, m, new Set(index === 0 ? ["a6"] : []));
  }
  await mover.finish();
  await work(all);
  watching.push(
    ...(await watchAll("after the plan", early)),
    ...(await watchAll("from within", past.at(-1)!)),
  );
  await work(all);
  const last = revisions.get(Math.max(...revisions.keys()))!;
  await compare(watching, last);
});

type Bound = Uint8Array | null;
