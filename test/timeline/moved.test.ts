import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import type { HostChange, HostWatchEvents, LogHost, NextHost } from "../../src/timeline/host.js";
import { markKey } from "../../src/timeline/keys.js";
import { encodeMark, HOST_NAME } from "../../src/timeline/mark.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import type { CarriedEntry } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { mapText, newMaps } from "../support/maps.js";
import { until } from "../support/until.js";
import { SimEtcd } from "./sim/etcd.js";
import { appendByCommit, carry } from "./sim/network.js";

const PREFIX = "\0braid/";
const STORE = "00000000000000ab";
const NEXT: NextHost = { shard: -1, name: HOST_NAME, endpoints: [], clusterId: "9" };

/** One proxy's connection to an etcd in memory. Delays watch events, and fails calls, when the test says so. */
class Connection {
  /** Undefined while events are delivered at once. */
  held: (() => void)[] | undefined;
  /** Set: answers of appends and reads of the tail wait for it. */
  answers: Promise<void> = Promise.resolve();
  /** Set: loads of the log wait for it. */
  loads: Promise<void> = Promise.resolve();

  constructor(readonly etcd: SimEtcd) {}

  readonly host: LogHost = this.make();

  private make(): LogHost {
    const base = () => this.etcd.get(`${PREFIX}base`)?.modRevision ?? 0;
    const tail = () => this.etcd.get(`${PREFIX}tail`)?.modRevision ?? 0;
    const host: LogHost = {
      label: "it",
      isConnected: true,
      load: async () => {
        await this.loads;
        return { revision: this.etcd.revision, raftTerm: 1, keys: this.etcd.list(PREFIX) };
      },
      tail: async () => {
        const end = tail();
        const { revision } = this.etcd;
        await this.answers;
        return { end, revision, raftTerm: 1 };
      },
      commit: async (guard, puts) => {
        const previous = tail();
        const committed = base() === guard;
        if (committed) this.etcd.put(puts);
        const { revision } = this.etcd;
        await this.answers;
        return { committed, revision, previous, raftTerm: 1 };
      },
      append: (guard, key, entry, done) => appendByCommit(host, guard, key, entry, done),
      carry,
      watch: (revision, events) => this.watch(revision, events),
    };
    return host;
  }

  private watch(from: number, events: HostWatchEvents): () => void {
    const deliver = (change: HostChange) => {
      if (!change.puts.some(({ key }) => key.startsWith(PREFIX))) return;
      const send = () => setImmediate(() => events.changes([change]));
      if (this.held === undefined) send();
      else this.held.push(send);
    };
    for (const change of this.etcd.changesFrom(from)) deliver(change);
    return this.etcd.listen(deliver);
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const send of held) send();
  }
}

const marked = (index: number): SimEtcd => {
  const etcd = new SimEtcd();
  const host = { name: "a", clusterId: "1" };
  const { key, value } = encodeMark({ store: STORE, name: index < 0 ? HOST_NAME : "a", index, host });
  etcd.put([{ key: key.toString("latin1"), value }]);
  return etcd;
};

async function open(
  first: Connection,
  next: Connection | ((next: NextHost) => LogHost),
): Promise<SharedTimeline> {
  const timeline = new SharedTimeline(2, {
    host: first.host,
    hostShard: 0,
    hostOf: (host) => (next instanceof Connection ? next.host : next(host)),
    proxy: Math.random().toString(36).slice(2),
    map: mapText(2),
    maps: newMaps(),
    runtime: systemRuntime,
    genesis: async () => ({ revisions: [2, 5], omitted: [[2]], clusterIds: ["1", "2"], store: STORE }),
    accept() {},
  });
  await timeline.open();
  return timeline;
}

test("a read of the old host does not hide what was acknowledged on the next one", async () => {
  const [old, next] = [marked(0), marked(-1)];
  const fast = await open(new Connection(old), new Connection(next));
  const connection = new Connection(old);
  const slow = await open(connection, new Connection(next));
  try {
    connection.held = [];
    await fast.log.moveTo(NEXT);
    await fast.seal(1, 6, true);
    const acknowledged = fast.head;
    assert.ok(acknowledged > slow.head);
    // The newest revision of the old host is that of the last base.
    const end = slow.beginRead(0);
    const carried = slow.beginRead(1);
    slow.announceRead(0);
    const carry = slow.carryEnd(0);
    const label = new Promise<number>((resolve, reject) =>
      slow.whenRead(0, old.revision, end, (error) =>
        error === undefined ? resolve(slow.head) : reject(error),
      ),
    );
    const other = new Promise<number>((resolve) => carried.whenFolded(() => resolve(slow.head)));
    carry?.(old.revision);
    connection.release();
    assert.equal(await label, acknowledged);
    assert.equal(await other, acknowledged);
  } finally {
    fast.close();
    slow.close();
  }
});

test("the log's end on a host that it has left already is not taken for its end", async () => {
  const [old, middle, last] = [marked(0), marked(-1), marked(0)];
  const hosts = (connections: readonly Connection[]) => (next: NextHost) => connections[next.shard + 1].host;
  const fast = await open(new Connection(old), hosts([middle, last].map((etcd) => new Connection(etcd))));
  const [first, second] = [new Connection(old), new Connection(middle)];
  const slow = await open(first, hosts([second, new Connection(last)]));
  try {
    first.held = [];
    await fast.log.moveTo(NEXT);
    await fast.log.moveTo({ ...NEXT, shard: 0, name: "a" });
    await fast.seal(1, 6, true);
    let load: () => void = () => {};
    second.loads = new Promise<void>((resolve) => {
      load = resolve;
    });
    first.release();
    await until(() => slow.hostShard === -1);
    // Its end is read before its log, in which the log moves on.
    const synced = slow.sync();
    await new Promise(setImmediate);
    load();
    await synced;
    assert.equal(slow.head, fast.head);
  } finally {
    fast.close();
    slow.close();
  }
});

test("no put carries an entry before the log is known on its next host", async () => {
  const next = new Connection(marked(1));
  const timeline = await open(new Connection(marked(0)), next);
  const ask = (shard: number) =>
    new Promise<CarriedEntry | undefined>((resolve) => timeline.withEntry(shard, resolve));
  try {
    let load: () => void = () => {};
    next.loads = new Promise<void>((resolve) => {
      load = resolve;
    });
    const moved = timeline.log.moveTo({ ...NEXT, shard: 1, name: "a" });
    await until(() => timeline.hostShard === 1);
    assert.equal(await ask(1), undefined);
    load();
    await moved;
    assert.equal(await ask(0), undefined);
    assert.ok((await ask(1)) !== undefined);
  } finally {
    timeline.close();
  }
});

test("calls that a read of the old host should serve are served when it leaves after the move", {
  timeout: 20_000,
}, async () => {
  const timeline = await open(new Connection(marked(0)), new Connection(marked(-1)));
  try {
    timeline.announceRead(0);
    const end = timeline.beginRead(1);
    await timeline.log.moveTo(NEXT);
    assert.equal(timeline.carryEnd(0), undefined);
    assert.equal(await new Promise((resolve) => end.whenFolded(resolve)), undefined);
    await timeline.sync();
  } finally {
    timeline.close();
  }
});

test("calls to a host that stops answering after the move are repeated on the next host", async () => {
  const [old, next] = [marked(0), marked(-1)];
  const mover = await open(new Connection(old), new Connection(next));
  const connection = new Connection(old);
  const other = await open(connection, new Connection(next));
  try {
    let fail: (error: Error) => void = () => {};
    connection.answers = new Promise<void>((_, reject) => {
      fail = reject;
    });
    connection.answers.catch(() => {});
    const synced = other.sync();
    const sealed = other.seal(1, 6, true);
    const compacted = other.compact(3);
    await new Promise(setImmediate);
    await mover.log.moveTo(NEXT);
    await until(() => other.hostShard === -1);
    fail(new StatusError(Code.UNAVAILABLE, "the old host is off"));
    await Promise.all([synced, sealed]);
    assert.equal(await compacted, true);
    assert.ok(!other.isHostAway);
  } finally {
    mover.close();
    other.close();
  }
});

test("the log does not begin again on a cluster without the store's mark", async () => {
  const old = marked(0);
  const mover = await open(new Connection(old), new Connection(marked(-1)));
  await mover.log.moveTo(NEXT);
  mover.close();
  const stranger = marked(1);
  for (const wrong of [new SimEtcd(), stranger]) {
    const { revision } = wrong;
    await assert.rejects(open(new Connection(old), new Connection(wrong)), /does not carry the mark/);
    assert.equal(wrong.revision, revision, "nothing was written");
  }
  assert.ok(stranger.get(markKey(STORE).toString("latin1")) !== undefined);
});
