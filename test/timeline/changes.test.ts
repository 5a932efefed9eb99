import assert from "node:assert/strict";
import { test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { Code, StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import { decodeBaseHead } from "../../src/timeline/base.js";
import { decodeEntry, type Entry } from "../../src/timeline/entry.js";
import type { LogHost } from "../../src/timeline/host.js";
import { isEntryKey } from "../../src/timeline/keys.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { SimEtcd } from "./sim/etcd.js";
import { Network, simHost } from "./sim/network.js";
import { simRuntime } from "./sim/runtime.js";
import { Random, Scheduler } from "./sim/scheduler.js";

/** What happens to an append of an entry with a change. */
type Fate = "lands" | "lost request" | "lost response" | "late" | "too large";

const FAILED = new StatusError(Code.UNAVAILABLE, "simulated: no answer");
const NOTHING = { committed: false, revision: 0, previous: 0, raftTerm: 0 };

const PLAN: Change = {
  kind: "plan",
  after: 0,
  map: mapText(3),
  shards: [{ index: 2, name: "s2", endpoints: ["x:1"], clusterId: "3", cut: 7 }],
};

/** A store of two shards on a simulated host, and timelines of its proxies. */
class Store {
  readonly etcd = new SimEtcd();
  readonly scheduler = new Scheduler();
  /** Fates of the next appends with changes. Those after them land. */
  readonly fates: Fate[] = [];
  /** Appends that arrive late: each call lets one arrive. */
  readonly late: (() => void)[] = [];
  /** Proxies whose watch of the log is stuck. */
  readonly deaf = new Set<string>();
  /** Ends the watches as an etcd does that has compacted the log, by proxy. */
  readonly compacted = new Map<string, () => void>();
  private readonly random = new Random(1);

  async open(name: string): Promise<SharedTimeline> {
    const faults = { loss: 0, cut: 0, lag: 0 };
    const host = simHost(new Network(this.scheduler, this.random, faults), this.etcd);
    const append: LogHost["append"] = (guard, key, entry, done) => {
      const fate = entry.includes('"r":') ? (this.fates.shift() ?? "lands") : "lands";
      if (fate === "lands") host.append(guard, key, entry, done);
      else if (fate === "too large") this.scheduler.after(1, () => done(etcd.requestTooLarge(), NOTHING));
      else if (fate === "lost response") host.append(guard, key, entry, () => done(FAILED, NOTHING));
      else this.scheduler.after(1, () => done(FAILED, NOTHING));
      if (fate === "late") this.late.push(() => host.append(guard, key, entry, () => {}));
    };
    const watch: LogHost["watch"] = (revision, events, known) => {
      this.compacted.set(name, () => events.closed(FAILED, true));
      const changes: typeof events.changes = (all) => {
        if (!this.deaf.has(name)) events.changes(all);
      };
      return host.watch(revision, { ...events, changes }, known);
    };
    const timeline = new SharedTimeline(2, {
      host: { ...host, append, watch },
      hostShard: -1,
      hostOf: noOtherHost,
      proxy: name,
      map: mapText(2),
      maps: newMaps(),
      runtime: { ...simRuntime(this.scheduler, this.random, () => true), random: () => 0.5 },
      genesis: async () => ({ revisions: [5, 5], clusterIds: ["1", "2"] }),
      accept() {},
    });
    await this.settle(timeline.open());
    return timeline;
  }

  async settle<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    promise.then(settled, settled);
    await new Promise(setImmediate);
    await this.scheduler.runUntil(() => isSettled, this.scheduler.now + 60_000);
    assert.ok(isSettled, "the call ends");
    return promise;
  }

  /** The logged entries with changes, in order. */
  changes(): Entry[] {
    return this.etcd
      .list("\0")
      .filter(({ key }) => isEntryKey(key))
      .sort((a, b) => a.createRevision - b.createRevision)
      .map(({ value }) => decodeEntry(value))
      .filter(({ change }) => change !== undefined);
  }

  get format(): number {
    return decodeBaseHead(this.etcd.get("\0braid/base")!.value).format;
  }
}

test("a store begins with the placement of its map and no changes", async () => {
  const store = new Store();
  const timeline = await store.open("a");
  assert.equal(store.format, 1);
  assert.equal(timeline.placementPosition, 0);
  assert.equal(timeline.hasImports, false);
  assert.deepEqual(
    timeline.placement.shards.map(({ name, clusterId }) => [name, clusterId]),
    [
      ["s0", "1"],
      ["s1", "2"],
    ],
  );
  const router = newMaps().router(mapText(2), timeline.placement.shards);
  for (let i = 0; i < 100; i++) {
    const key = Buffer.from(`/k/${i}`);
    assert.equal(timeline.locator.shardOf(key), router.shardOf(key));
  }
  timeline.close();
});

test("a change takes effect on every proxy, at the same position", async () => {
  const store = new Store();
  const [a, b] = [await store.open("a"), await store.open("b")];
  const position = await store.settle(a.proposeChange(PLAN));
  assert.equal(store.format, 2);
  assert.ok(position !== undefined && position > 0);
  assert.equal(a.placementPosition, position);
  await store.settle(b.sync());
  assert.equal(b.placementPosition, position);
  assert.deepEqual(b.placement, a.placement);
  assert.equal(b.placement.plan?.number, 1);
  // Not valid any more.
  assert.equal(await store.settle(b.proposeChange(PLAN)), undefined);
  assert.equal(b.placementPosition, position);
  // The new shard can be sealed.
  await store.settle(b.seal(2, 8, true));
  assert.equal(b.toRevision(2, 8), b.head);
  a.close();
  b.close();
});

test("two proxies propose a plan at once: one is valid", async () => {
  const store = new Store();
  const [a, b] = [await store.open("a"), await store.open("b")];
  const positions = await store.settle(Promise.all([a.proposeChange(PLAN), b.proposeChange(PLAN)]));
  assert.equal(positions.filter((position) => position !== undefined).length, 1);
  await store.settle(Promise.all([a.sync(), b.sync()]));
  assert.deepEqual(a.placement, b.placement);
  a.close();
  b.close();
});

test("the seals of a change are in its entry", async () => {
  const store = new Store();
  const timeline = await store.open("a");
  await store.settle(timeline.proposeChange(PLAN));
  await store.settle(
    timeline.proposeChange(
      { kind: "claim" },
      new Map([
        [0, 9],
        [1, 5],
        [2, 12],
      ]),
    ),
  );
  const { reached } = store.changes().at(-1)!;
  assert.deepEqual(
    [...reached],
    [
      [0, 9],
      [2, 12],
    ],
  );
  assert.equal(timeline.cut(2), 12);
  timeline.close();
});

for (const fate of ["lost request", "lost response", "late"] as const) {
  test(`a change whose append has an unknown outcome takes effect once: ${fate}`, async () => {
    const store = new Store();
    const [a, b] = [await store.open("a"), await store.open("b")];
    await store.settle(a.proposeChange(PLAN));
    store.fates.push(fate);
    // With other proposals in the same entry.
    const others = [a.seal(0, 20, true), a.place(7n, 1)].map((each) => each.catch(() => {}));
    const position = await store.settle(a.proposeChange({ kind: "claim" }));
    await store.settle(Promise.all(others));
    for (const arrive of store.late) arrive();
    const freeze = { kind: "freeze", mover: position ?? 0, plan: 1, cursor: START, to: null } as const;
    assert.ok((await store.settle(a.proposeChange(freeze))) !== undefined, "a is the mover");
    await store.settle(b.sync());
    assert.equal(b.placement.mover, position);
    assert.equal(store.changes().filter(({ change }) => change?.kind === "claim").length, 1);
    assert.equal(b.cut(0), 20);
    assert.ok(b.placements.get(7n)?.has(1));
    a.close();
    b.close();
  });
}

test("a change whose entry a reload may have skipped ends with an unknown outcome", async () => {
  const store = new Store();
  const [a, b] = [await store.open("a"), await store.open("b")];
  await store.settle(a.proposeChange(PLAN));
  await store.settle(b.sync());
  store.deaf.add("a");
  // An entry that a does not know, so that it cannot fold its own ones directly.
  await store.settle(b.place(7n, 0));
  const change = a.proposeChange({ kind: "claim" });
  const outcome = change.catch((error: StatusError) => error);
  await store.scheduler.runUntil(() => b.placement.mover > 0, 60_000);
  // Two bases later, the entry is deleted.
  for (let i = 0; i < 2; i++) {
    await store.settle(b.log.writeBase());
    await store.settle(b.sync());
  }
  assert.deepEqual(store.changes(), []);
  store.deaf.clear();
  store.compacted.get("a")?.();
  const error = await store.settle(outcome);
  assert.ok(error instanceof StatusError && /unknown/.test(error.message));
  // The next proposal is not affected.
  assert.ok((await store.settle(a.proposeChange({ kind: "claim" }))) !== undefined);
  assert.deepEqual(a.placement.mover, a.placementPosition);
  a.close();
  b.close();
});

test("a closed timeline takes no changes", async () => {
  const store = new Store();
  const timeline = await store.open("a");
  await store.settle(timeline.proposeChange(PLAN));
  store.fates.push("lost request", "lost request", "lost request");
  const claim = () => assert.rejects(timeline.proposeChange({ kind: "claim" }), /shutting down/);
  const waiting = [claim(), claim()];
  await store.settle(timeline.sync());
  timeline.close();
  await Promise.all([...waiting, claim()]);
});

test("a change that is too large for the host is refused, and nothing else", async () => {
  const store = new Store();
  const timeline = await store.open("a");
  store.fates.push("too large");
  const sealed = timeline.seal(1, 9, true);
  await assert.rejects(store.settle(timeline.proposeChange(PLAN)), etcd.requestTooLarge.is);
  await store.settle(sealed);
  assert.equal(timeline.isHostAway, false);
  assert.ok((await store.settle(timeline.proposeChange(PLAN)))! > 0, "the next change is logged");
  assert.equal(store.changes().length, 1);
  timeline.close();
});
