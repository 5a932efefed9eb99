import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { HostChange, HostWatchEvents, LogHost } from "../../src/timeline/host.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { SimEtcd } from "./sim/etcd.js";
import { appendByCommit, carry } from "./sim/network.js";

/** One proxy's connection to the log. */
class FakeHost implements LogHost {
  private watching: { events: HostWatchEvents; end: () => void } | undefined;
  label = "it";
  readonly isConnected = true;
  /** True: changes do not arrive. */
  deaf = false;
  raftTerm = 1;

  constructor(private readonly etcd: SimEtcd) {}

  /** Resolves when what was read may arrive. */
  loading: Promise<void> = Promise.resolve();
  /** Resolves when the responses to appends may arrive. */
  appending: Promise<void> = Promise.resolve();

  load = async () => {
    const read = { revision: this.etcd.revision, raftTerm: this.raftTerm, keys: this.etcd.list("\0") };
    await this.loading;
    return read;
  };
  tail = async () => {
    const { revision } = this.etcd;
    const end = this.etcd.list("\0").find(({ key }) => key.endsWith("tail"))?.modRevision ?? 0;
    return { end, revision, raftTerm: this.raftTerm };
  };

  commit: LogHost["commit"] = async (guard, puts, deletes) => {
    const base = this.etcd.list("\0").find(({ key }) => key.endsWith("base"))?.modRevision ?? 0;
    const committed = base === guard;
    const gone = deletes.flatMap(({ key, end }) => {
      const [from, to] = [key, end].map((bytes) => Buffer.from(bytes).toString("latin1"));
      const keys = this.etcd.list("\0").map((each) => each.key);
      return keys.filter((each) => (to === "" ? each === from : each >= from && each < to));
    });
    const { end: previous } = await this.tail();
    const revision = committed ? this.etcd.put(puts, gone) : this.etcd.revision;
    await this.appending;
    return { committed, revision, previous, raftTerm: this.raftTerm };
  };

  append: LogHost["append"] = (guard, key, entry, done) => appendByCommit(this, guard, key, entry, done);
  carry = carry;

  watch(revision: number, events: HostWatchEvents): () => void {
    const tell = (changes: () => HostChange[]) =>
      setImmediate(() => {
        if (!this.deaf) events.changes(changes());
      });
    const end = this.etcd.listen((change) => tell(() => [change]));
    this.watching = { events, end };
    tell(() => this.etcd.changesFrom(revision));
    return end;
  }

  /** Closes the watch as etcd does when the log is compacted beyond it. */
  compacted(): void {
    this.deaf = false;
    this.watching?.end();
    this.watching?.events.closed(new Error("compacted"), true);
  }
}

function open(etcd: SimEtcd) {
  const host = new FakeHost(etcd);
  const timeline = new SharedTimeline(2, {
    host,
    hostShard: -1,
    hostOf: noOtherHost,
    proxy: `p${Math.random()}`,
    map: mapText(2),
    maps: newMaps(),
    runtime: systemRuntime,
    genesis: async () => ({ revisions: [5, 5], clusterIds: ["1", "2"] }),
    accept() {},
  });
  return { host, timeline };
}

test("operations that a reload finds in the base are settled", async () => {
  const etcd = new SimEtcd();
  const [slow, other] = [open(etcd), open(etcd)];
  await slow.timeline.open();
  await other.timeline.open();
  slow.host.deaf = true;
  // An unknown entry before them, so that the proxy cannot fold its own entries directly.
  await other.timeline.place(8n, 0);
  const settled: string[] = [];
  const note = (name: string, promise: Promise<unknown>) =>
    promise.then(
      () => settled.push(name),
      () => settled.push(name),
    );
  const calls = [
    note("place", slow.timeline.place(7n, 1)),
    note("compact", slow.timeline.compact(3)),
    note("seal", slow.timeline.seal(1, 9, true)),
  ];
  while (other.timeline.cut(1) < 9 || other.timeline.compactRevision < 3) await turn();
  assert.ok(other.timeline.placements.get(7n)?.has(1));
  // Two bases later, the entries are deleted.
  for (let i = 0; i < 2; i++) {
    assert.ok(await other.timeline.log.writeBase());
    await other.timeline.sync();
  }
  assert.deepEqual(settled, []);
  slow.host.compacted();
  const patience = new Promise((resolve) => setTimeout(resolve, 1_000));
  await Promise.race([Promise.all(calls), patience]);
  assert.deepEqual(settled.sort(), ["compact", "place", "seal"]);
  slow.timeline.close();
  other.timeline.close();
});

test("when the log does not arrive, errors name the shard that is the timeline host", async () => {
  const etcd = new SimEtcd();
  const [cutOff, other] = [open(etcd), open(etcd)];
  await cutOff.timeline.open();
  await other.timeline.open();
  cutOff.host.label = 'shard "a"';
  cutOff.host.deaf = true;
  await other.timeline.place(8n, 0);
  await assert.rejects(cutOff.timeline.sync(), {
    message: 'etcd-braid: the timeline host (shard "a") does not deliver its log',
  });
  cutOff.timeline.close();
  other.timeline.close();
});

/** A promise and what resolves it. */
function gate(): { readonly promise: Promise<void>; open(): void } {
  let open = () => {};
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

test("operations that are appended while the log is reloaded are not refused", async () => {
  for (const isAnsweredFirst of [true, false]) {
    const etcd = new SimEtcd();
    const { host, timeline } = open(etcd);
    await timeline.open();
    const [loading, appending] = [gate(), gate()];
    host.loading = loading.promise;
    if (!isAnsweredFirst) host.appending = appending.promise;
    host.compacted();
    // Its entry is in the log, but not in what the reload has read.
    const { revision } = etcd;
    const placed = timeline.place(7n, 1);
    while (etcd.revision === revision) await turn();
    for (let i = 0; i < 10; i++) await turn();
    const pending = timeline.place(8n, 1);
    loading.open();
    for (let i = 0; i < 10; i++) await turn();
    appending.open();
    await placed;
    await pending;
    assert.deepEqual([...timeline.placements.keys()], [7n, 8n]);
    timeline.close();
  }
});

test("an operation that another proxy undoes while the log is reloaded ends as unknown", async () => {
  const etcd = new SimEtcd();
  const [slow, other] = [open(etcd), open(etcd)];
  await slow.timeline.open();
  await other.timeline.open();
  const appending = gate();
  slow.host.appending = appending.promise;
  slow.host.deaf = true;
  const placed = slow.timeline.place(7n, 1);
  while (!other.timeline.placements.has(7n)) await turn();
  await other.timeline.unplace(7n);
  // Two bases later, the entries are deleted.
  for (let i = 0; i < 2; i++) {
    assert.ok(await other.timeline.log.writeBase());
    await other.timeline.sync();
  }
  slow.host.compacted();
  await slow.timeline.sync();
  appending.open();
  await assert.rejects(placed, /reloaded meanwhile/);
  slow.timeline.close();
  other.timeline.close();
});

test("a Raft term counts when it is in the log, so that every proxy that has read as far has it", async () => {
  const etcd = new SimEtcd();
  const [first, second] = [open(etcd), open(etcd)];
  await first.timeline.open();
  await second.timeline.open();
  try {
    // The host has elected a leader, and its next response goes to the first proxy.
    first.host.raftTerm = 5;
    for (const lease of [1n, 2n]) {
      await first.timeline.place(lease, 0);
      const { raftTerm } = first.timeline;
      await second.timeline.sync();
      assert.equal(second.timeline.raftTerm, raftTerm);
    }
    assert.equal(second.timeline.raftTerm, 5);
  } finally {
    first.timeline.close();
    second.timeline.close();
  }
});
