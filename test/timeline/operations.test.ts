import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeEntry, type LeaseOp } from "../../src/timeline/entry.js";
import { Fold } from "../../src/timeline/fold.js";
import { isEntryKey } from "../../src/timeline/keys.js";
import { Operations } from "../../src/timeline/operations.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import type { Placements } from "../../src/timeline/view.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { SimEtcd } from "./sim/etcd.js";
import { Network, simHost } from "./sim/network.js";
import { simRuntime } from "./sim/runtime.js";
import { Random, Scheduler } from "./sim/scheduler.js";

const place = (lease: bigint, shard: number): LeaseOp => ({ kind: "place", lease, shard });
const unplace = (lease: bigint): LeaseOp => ({ kind: "unplace", lease });
const SHARDS = 3;

/** Requests operations without waiting. */
function ask(operations: Operations, ...asked: LeaseOp[]): void {
  for (const op of asked) operations.changeLease(op).catch(() => {});
}

const sorted = (placements: Placements) =>
  [...placements].map(([lease, shards]) => [lease, [...shards].sort()]).sort();

function placementsAfter(leases: readonly LeaseOp[]): unknown {
  const fold = Fold.genesis(SHARDS, -1);
  fold.apply({ reached: new Map(), compact: 0, leases, raftTerm: 0 }, 1);
  return sorted(fold.placements);
}

/** A timeline on a simulated host. `ends` returns how promises end. */
async function openTimeline(faults = { loss: 0, cut: 0, lag: 0 }) {
  const etcd = new SimEtcd();
  const scheduler = new Scheduler();
  const timeline = new SharedTimeline(2, {
    host: simHost(new Network(scheduler, new Random(1), faults), etcd),
    hostShard: -1,
    hostOf: noOtherHost,
    proxy: "p",
    map: mapText(2),
    maps: newMaps(),
    runtime: { ...simRuntime(scheduler, new Random(1), () => true), random: () => 0.5 },
    genesis: async () => ({ revisions: [5, 5], clusterIds: ["1", "2"] }),
    accept() {},
  });
  const ends = async (...promises: Promise<unknown>[]): Promise<string[]> => {
    let results: string[] | undefined;
    void Promise.allSettled(promises).then((settled) => {
      results = settled.map((each) =>
        each.status === "fulfilled" ? each.status : String(each.reason.message),
      );
    });
    await scheduler.runUntil(() => results !== undefined, Number.POSITIVE_INFINITY);
    return results!;
  };
  assert.deepEqual(await ends(timeline.open()), ["fulfilled"]);
  return { timeline, etcd, ends };
}

test("calls on a closed timeline reject, and so do those that wait when it closes", async () => {
  const closing = "etcd-braid: the proxy is shutting down";
  const answers = [closing, closing, closing, closing];
  const { timeline, ends } = await openTimeline();
  const ask = () => [
    timeline.seal(0, 9, true),
    timeline.seal(1, 9, false),
    timeline.compact(2),
    timeline.place(3n, 0),
  ];
  const waiting = ask();
  timeline.close();
  assert.deepEqual(await ends(...waiting), answers);
  assert.deepEqual(await ends(...ask(), timeline.sync()), [...answers, closing]);
  assert.deepEqual(await ends(timeline.seal(0, 5, true)), ["fulfilled"], "it has been sealed before");
});

test("an operation that is repeated while the host takes no entries is logged once", async () => {
  const faults = { loss: 0, cut: 0, lag: 0 };
  const { timeline, etcd, ends } = await openTimeline(faults);
  assert.deepEqual(await ends(timeline.place(8n, 0)), ["fulfilled"]);
  faults.loss = 1;
  for (let i = 0; i < 20; i++) {
    const tries = [timeline.place(7n, 0), timeline.place(7n, 1), timeline.unplace(8n)];
    for (const end of await ends(...tries)) assert.match(end, /timeline host cannot be reached/);
  }
  faults.loss = 0;
  assert.deepEqual(await ends(timeline.place(9n, 1)), ["fulfilled"]);
  const entries = etcd.list("\0").filter(({ key }) => isEntryKey(key));
  const logged = entries.flatMap(({ value }) => decodeEntry(value).leases);
  assert.equal(logged.length, 5);
  assert.deepEqual(sorted(timeline.placements), [
    [7n, [0, 1]],
    [9n, [1]],
  ]);
  timeline.close();
});

test("an operation after its opposite is a new one", () => {
  const operations = new Operations();
  ask(operations, place(7n, 1), unplace(7n), place(7n, 1));
  assert.deepEqual(operations.takeLeases(), [unplace(7n), place(7n, 1)]);
  ask(operations, unplace(7n), place(8n, 1), place(7n, 1), place(7n, 2), unplace(7n));
  assert.deepEqual(operations.takeLeases(), [place(8n, 1), place(7n, 1), place(7n, 2), unplace(7n)]);
  assert.ok(operations.isEmpty);
});

test("operations of a failed entry come before later ones", () => {
  const operations = new Operations();
  ask(operations, place(7n, 1), place(8n, 1), unplace(9n));
  const taken = operations.takeLeases();
  ask(operations, unplace(9n), unplace(7n));
  operations.putBack("entry", taken);
  assert.deepEqual(operations.takeLeases(), [place(7n, 1), place(8n, 1), unplace(9n), unplace(7n)]);
});

test("pending operations have the outcome of all requested ones, however they are split into entries", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed);
    const operations = new Operations();
    const asked: LeaseOp[] = [];
    const logged: LeaseOp[] = [];
    for (let n = 0; n < 60; n++) {
      const lease = BigInt(random.below(3));
      const op = random.chance(0.3) ? unplace(lease) : place(lease, random.below(SHARDS));
      asked.push(op);
      ask(operations, op);
      if (random.chance(0.7)) continue;
      const taken = operations.takeLeases();
      assert.ok(taken.length <= 3 * (SHARDS + 1));
      // Some are logged, some are not, and the outcome of others is unknown.
      const landed = random.chance(0.6);
      if (landed) logged.push(...taken);
      const since = random.chance(0.5) ? unplace(lease) : place(lease, random.below(SHARDS));
      asked.push(since);
      ask(operations, since);
      if (!landed || random.chance(0.3)) operations.putBack("entry", taken);
    }
    logged.push(...operations.takeLeases());
    assert.deepEqual(placementsAfter(logged), placementsAfter(asked), `seed ${seed}`);
  }
});
