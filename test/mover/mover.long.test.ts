import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { EtcdMoverShard } from "../../src/mover/etcdShard.js";
import { MoverError } from "../../src/mover/shard.js";
import { encodeChange } from "../../src/reshard/change.js";
import type { ShardMap } from "../../src/routing/map.js";
import type { ShardClient } from "../../src/shard/client.js";
import { etcd } from "../../src/status/etcd.js";
import { type Runtime, systemRuntime } from "../../src/turn/runtime.js";
import {
  AlarmAction,
  AlarmRequest,
  AlarmResponse,
  CompactionRequest,
  LeaseGrantRequest,
  TxnRequest,
} from "../../src/wire/messages.js";
import { KV, Lease, Maintenance } from "../../src/wire/paths.js";
import type { LogLine } from "../shard/support.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";
import { bytes, list, moverShard, put, Store, text } from "./support.js";

// The mover between real etcds. Only the timeline log is in memory.

const ONE: ShardMap = { shards: [{ name: "s0", weight: 1 }], rules: [] };
const OTHER: ShardMap = { shards: [{ name: "s1", weight: 1 }], rules: [] };
const BOTH: ShardMap = {
  shards: [
    { name: "s0", weight: 1 },
    { name: "s1", weight: 1 },
  ],
  rules: [{ prefix: bytes("/"), delimiter: 0x2f, segments: 1 }],
};

let etcds: EtcdProcess[] = [];

before(async () => {
  etcds = await Promise.all([startEtcd(), startEtcd()]);
});
after(async () => {
  for (const etcd of etcds) await etcd.remove();
});

/** A store of all etcds, whose keys were deleted before. */
async function open(map: ShardMap, fill?: Parameters<typeof Store.open>[2]): Promise<Store> {
  return Store.open(map, etcds, async (shards) => {
    for (const shard of shards) {
      const request = TxnRequest.encode({
        success: [{ kind: "deleteRange", request: { key: bytes("\x01"), rangeEnd: bytes("\0") } }],
      });
      await shard.call(KV.Txn, request, { idempotent: false });
    }
    await fill?.(shards);
  });
}

test("keys move with values, revisions, versions and leases, and the source is clean", async () => {
  const store = await open(ONE, async ([shard]) => {
    await shard.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ id: 5n, ttl: 300 }), { idempotent: false });
    for (let i = 0; i < 40; i++) await put(shard, `/${i % 5}/${i}`, `value ${i}`, i % 3 === 0 ? 5n : 0n);
    for (let i = 0; i < 40; i += 2)
      for (let n = 0; n < i % 7; n++) await put(shard, `/${i % 5}/${i}`, `${n}`);
    // Several keys of one revision, more than a transaction of the mover takes.
    const success = Array.from({ length: 100 }, (_, i) => ({
      kind: "put" as const,
      request: { key: bytes(`/many/${i}`), value: bytes("x") },
    }));
    await shard.call(KV.Txn, TxnRequest.encode({ success }), { idempotent: false });
  });
  const before = await store.seen();
  await store.log.plan(BOTH);
  const mover = store.mover({ pageKeys: 7, maxTxnOps: 16, stepKeys: 30 });
  await mover.run();
  assert.equal(store.log.placement.plan, undefined, "the plan is done");
  assert.deepEqual(await store.seen(), before);
  const counts = await Promise.all(store.shards.map(async (shard) => (await list(shard)).length));
  assert.ok(
    counts.every((count) => count > 0),
    `both shards hold keys: ${counts}`,
  );
  const { progress } = mover;
  assert.equal(progress.keys, counts[1]);
  assert.ok(progress.steps > 1 && progress.longestPauseMs > 0 && progress.phase === "idle");
  assert.equal(progress.waiting, undefined);
  if (counts[1] > 0) assert.equal(await moverShard(store.shards[1]).leaseTtl(5n), 300);
  store.close();
});

test("clients write all the time while keys move back and forth", async () => {
  const store = await open(ONE);
  const last = new Map<string, { value: string; mod: number }>();
  let isDone = false;
  const client = async (name: number) => {
    for (let n = 0; !isDone; n++) {
      const key = `/${n % 11}/${name}`;
      const value = `${name} ${n}`;
      last.set(key, { value, mod: await store.put(key, value) });
    }
  };
  const clients = [0, 1, 2].map(client);
  const lines: LogLine[] = [];
  for (const map of [BOTH, OTHER, ONE, BOTH]) {
    await store.log.plan(map);
    await store.mover({ stepKeys: 5, pageKeys: 3 }, lines).run();
    assert.equal(store.log.placement.plan, undefined);
  }
  isDone = true;
  await Promise.all(clients);
  const seen = await store.seen();
  assert.equal(seen.size, 33);
  for (const [key, { value, mod }] of last) {
    assert.deepEqual({ value: seen.get(key)?.value, mod: seen.get(key)?.mod }, { value, mod }, key);
  }
  assert.deepEqual(
    lines.filter(({ level }) => level === "warn"),
    [],
  );
  store.close();
});

test("a group that is larger than a step moves in one", async () => {
  const { rules } = BOTH;
  const store = await open({ ...ONE, rules }, async ([shard]) => {
    for (let i = 0; i < 300; i++) await put(shard, `/group/${i}`, `${i}`);
    for (let i = 0; i < 30; i++) await put(shard, `/other-${i}/x`, `${i}`);
  });
  const before = await store.seen();
  await store.log.plan({ ...OTHER, rules });
  const mover = store.mover({ stepKeys: 20, pageKeys: 16 });
  await mover.run();
  assert.equal(store.log.placement.plan, undefined);
  assert.deepEqual(await store.seen(), before);
  const ends = store.log.placement.moves.map(({ to }) => (to === null ? "end" : text(to)));
  assert.ok(ends.length > 2 && ends.every((end) => !end.startsWith("/group/")), `${ends}`);
  store.close();
});

test("a plan that turns back restores the first map, step by step", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let i = 0; i < 60; i++) await put(shard, `/${i}/x`, `${i}`);
  });
  const before = await store.seen();
  await store.log.plan(BOTH);
  const mover = store.mover({ stepKeys: 4, pageKeys: 3 });
  const propose = store.log.proposeChange.bind(store.log);
  let steps = 0;
  store.log.proposeChange = async (each, seals) => {
    const position = await propose(each, seals);
    const number = store.log.placement.plan?.number ?? 0;
    if (each.kind === "move" && ++steps === 3) await propose({ kind: "turn back", plan: number });
    return position;
  };
  await mover.run();
  assert.ok(steps > 4, `several steps back: ${steps}`);
  const { plan, inForce } = store.log.placement;
  assert.equal(plan, undefined);
  assert.ok(!inForce.includes("s1"), inForce);
  assert.deepEqual(await store.seen(), before);
  assert.equal((await list(store.shards[1])).length, 0);
  store.close();
});

test("a paused mover begins no step until it is resumed, and a stopped one ends", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let i = 0; i < 20; i++) await put(shard, `/${i}/x`, `${i}`);
  });
  const before = await store.seen();
  await store.log.plan(BOTH);
  const mover = store.mover({ stepKeys: 3 });
  const propose = store.log.proposeChange.bind(store.log);
  let moved = () => {};
  const paused = new Promise<void>((resolve) => {
    moved = resolve;
  });
  store.log.proposeChange = async (each, seals) => {
    if (each.kind === "freeze") mover.pause();
    const position = await propose(each, seals);
    if (each.kind === "move") moved();
    return position;
  };
  const running = mover.run();
  await paused;
  await until(() => mover.progress.waiting === "paused");
  assert.equal(mover.progress.steps, 1);
  const { cursor } = store.log.placement.plan!;
  assert.ok(cursor !== null);
  mover.stop();
  await running;
  assert.deepEqual(await store.seen(), before, "every key is on the shard that holds it");
  store.log.proposeChange = propose;
  await store.mover().run();
  assert.equal(store.log.placement.plan, undefined);
  assert.deepEqual(await store.seen(), before);
  store.close();
});

test("a rate limit holds", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let i = 0; i < 60; i++) await put(shard, `/${i}/x`, `${i}`);
  });
  await store.log.plan(OTHER);
  const mover = store.mover({ pageKeys: 5 });
  mover.maxKeysPerSecond = 100;
  const since = performance.now();
  await mover.run();
  assert.equal(mover.progress.keys, 60);
  // The last page does not wait for its own keys.
  assert.ok(performance.now() - since > 500, `${performance.now() - since} ms`);
  store.close();
});

test("a key that is too large for the destination: a clear state, and nothing is lost", async () => {
  const small = await startEtcd({ flags: ["--max-request-bytes", "20000"] });
  const store = await Store.open(ONE, [etcds[0], small], async ([shard]) => {
    await put(shard, "/large/x", "x".repeat(30_000));
  });
  const before = await store.seen();
  await store.log.plan(OTHER);
  const mover = store.mover();
  const running = mover.run();
  await until(() => mover.progress.waiting !== undefined);
  assert.match(mover.progress.waiting ?? "", /shard "s1": etcdserver: request is too large/);
  assert.deepEqual(new Map([...(await store.seen())].filter(([key]) => key === "/large/x")).size, 1);
  // Without the key, the mover gets on.
  await moverShard(store.shards[0]).txn({
    gen: undefined,
    ops: [{ kind: "delete", key: bytes("/large/x") }],
  });
  await running;
  assert.equal(store.log.placement.plan, undefined);
  assert.equal((await store.seen()).size, before.size - 1);
  store.close();
  await small.remove();
});

test("a group whose move does not fit into an entry of the log: a clear state, and calls do not wait", async () => {
  const store = await open({ ...ONE, rules: BOTH.rules }, async ([shard]) => {
    for (let i = 0; i < 500; i++) await put(shard, `/group/${i}`, `${i}`);
  });
  await store.log.plan({ ...OTHER, rules: BOTH.rules });
  const mover = store.mover({ maxRequestBytes: 2_000 });
  const running = mover.run();
  await until(() => mover.progress.waiting !== undefined);
  assert.match(
    mover.progress.waiting ?? "",
    /the step's 500 keys take \d+ bytes .* raise --max-request-bytes/,
  );
  assert.equal(store.log.placement.plan?.frozen, undefined);
  mover.stop();
  await running;
  store.close();
});

for (const isKnown of [true, false]) {
  const text = `keys that end in a frozen step make its move too large for a host whose limit is ${isKnown ? "" : "un"}known`;
  test(`${text}: the step is thawed, and moves later`, () => endMany(isKnown));
}

async function endMany(isKnown: boolean): Promise<void> {
  const maxRequestBytes = 20_000;
  const lease = 9n;
  const grant = LeaseGrantRequest.encode({ id: lease, ttl: 300 });
  const store = await open(ONE, async ([shard]) => {
    await shard.call(Lease.LeaseGrant, grant, { idempotent: false });
    for (let i = 0; i < 60; i++) await put(shard, `/${i}/${"long".repeat(100)}`, "", lease);
    await put(shard, "/stays", "");
  });
  await store.log.plan(OTHER);
  const propose = store.log.proposeChange.bind(store.log);
  const changes: string[] = [];
  store.log.proposeChange = async (each, seals) => {
    // As an etcd does.
    if (encodeChange(each).length > maxRequestBytes) throw etcd.requestTooLarge();
    changes.push(each.kind);
    return propose(each, seals);
  };
  // The lease ends between the source's stop and the destination's last compare.
  const { raiseGen } = EtcdMoverShard.prototype;
  let hasEnded = () => {};
  const ended = new Promise<void>((resolve) => {
    hasEnded = resolve;
  });
  EtcdMoverShard.prototype.raiseGen = async function (position) {
    const isFrozen = store.log.placement.plan?.frozen !== undefined;
    if (isFrozen && this.name === "s1") await ended;
    const raised = await raiseGen.call(this, position);
    if (isFrozen && this.name === "s0") {
      for (const shard of store.shards) await moverShard(shard).endPart(lease);
      hasEnded();
    }
    return raised;
  };
  try {
    await store.mover(isKnown ? { maxRequestBytes } : {}).run();
  } finally {
    EtcdMoverShard.prototype.raiseGen = raiseGen;
  }
  const decisive = changes.filter((kind) => ["freeze", "thaw", "move"].includes(kind));
  assert.deepEqual(decisive, ["freeze", "thaw", "freeze", "move"]);
  assert.equal(store.log.placement.plan, undefined);
  assert.deepEqual([...(await store.seen()).keys()], ["/stays"]);
  store.close();
}

test("a destination without space: a clear state, and the mover gets on when there is space", async () => {
  const full = await startEtcd({ flags: ["--quota-backend-bytes", String(4 << 20)] });
  const store = await Store.open(ONE, [etcds[0], full], async ([shard, other]) => {
    for (let i = 0; i < 20; i++) await put(shard, `/space/${i}`, `${i}`);
    await fillUp(other);
  });
  await store.log.plan(OTHER);
  const mover = store.mover();
  const running = mover.run();
  await until(() => mover.progress.waiting !== undefined);
  assert.match(mover.progress.waiting ?? "", /shard "s1": etcdserver: mvcc: database space exceeded/);
  assert.equal(store.log.placement.plan?.frozen, undefined, "calls do not wait meanwhile");
  const [, other] = store.shards;
  await makeSpace(other);
  await running;
  assert.equal(store.log.placement.plan, undefined);
  assert.ok((await list(other)).length >= 20);
  assert.equal(mover.progress.waiting, undefined);
  store.close();
  await full.remove();
});

test("a source without space: a clear state, and its keys are neither copied nor frozen again and again", async () => {
  const full = await startEtcd({ flags: ["--quota-backend-bytes", String(4 << 20)] });
  const store = await Store.open(ONE, [full, etcds[1]], async ([shard]) => {
    for (let i = 0; i < 20; i++) await put(shard, `/space/${i}`, `${i}`);
    await fillUp(shard);
  });
  await store.log.plan(OTHER);
  const changes: string[] = [];
  const propose = store.log.proposeChange.bind(store.log);
  store.log.proposeChange = async (each, seals) => {
    changes.push(each.kind);
    return propose(each, seals);
  };
  const mover = store.mover();
  const running = mover.run();
  await until(() => mover.progress.waiting !== undefined);
  assert.match(mover.progress.waiting ?? "", /shard "s0": etcdserver: mvcc: database space exceeded/);
  assert.deepEqual(changes, ["claim"]);
  const moved = async () =>
    (await list(store.shards[1])).filter(({ key }) => text(key).startsWith("/space/")).length;
  assert.equal(await moved(), 0);
  await makeSpace(store.shards[0]);
  await running;
  assert.equal(store.log.placement.plan, undefined);
  assert.equal(await moved(), 20);
  store.close();
  await full.remove();
});

/** Puts until the shard refuses that for want of space. */
async function fillUp(shard: ShardClient): Promise<void> {
  for (let isFull = false; !isFull; ) {
    const junk = put(shard, "/junk", "x".repeat(500_000));
    await junk.catch((error) => {
      isFull = error.message === "etcdserver: mvcc: database space exceeded";
      if (!isFull) throw error;
    });
  }
}

/** Gives a shard its space back, and ends its alarm. */
async function makeSpace(shard: ShardClient): Promise<void> {
  const revision = await moverShard(shard).revision();
  const call = (path: string, request: Uint8Array) => shard.call(path, request, { idempotent: true });
  await call(KV.Compact, CompactionRequest.encode({ revision, physical: true }));
  await call(Maintenance.Defragment, new Uint8Array(0));
  const get = AlarmRequest.encode({ action: AlarmAction.GET });
  for (const { memberId, alarm } of AlarmResponse.decode(await call(Maintenance.Alarm, get)).alarms)
    await call(Maintenance.Alarm, AlarmRequest.encode({ action: AlarmAction.DEACTIVATE, memberId, alarm }));
}

test("a mover that is replaced ends, and the newer one finishes the plan", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let i = 0; i < 80; i++) await put(shard, `/${i}/x`, `${i}`);
  });
  const before = await store.seen();
  await store.log.plan(OTHER);
  const lines: LogLine[] = [];
  const movers = [0, 1, 2].map(() => store.mover({ stepKeys: 3, pageKeys: 2 }, lines));
  const running: Promise<void>[] = [];
  const propose = store.log.proposeChange.bind(store.log);
  store.log.proposeChange = async (each, seals) => {
    // Another mover claims the plan at each of the first freezes.
    const next = movers[running.length];
    if (each.kind === "freeze" && next !== undefined) running.push(next.run());
    return propose(each, seals);
  };
  running.push(movers[0].run());
  await until(() => running.length === movers.length);
  await Promise.all(running);
  assert.equal(store.log.placement.plan, undefined);
  assert.deepEqual(await store.seen(), before);
  store.close();
});

test("a failure while a step is frozen thaws it before anything else", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let i = 0; i < 5; i++) await put(shard, `/${i}/x`, `${i}`);
  });
  const before = await store.seen();
  await store.log.plan(OTHER);
  const events: string[] = [];
  const runtime: Runtime = {
    ...systemRuntime,
    timer(ms, fn, background) {
      events.push("back off");
      return systemRuntime.timer(ms, fn, background);
    },
  };
  const propose = store.log.proposeChange.bind(store.log);
  store.log.proposeChange = (each, seals) => {
    if (["freeze", "thaw", "move"].includes(each.kind)) events.push(each.kind);
    return propose(each, seals);
  };
  // The first freeze cannot raise gen.
  const { raiseGen } = EtcdMoverShard.prototype;
  EtcdMoverShard.prototype.raiseGen = function (position) {
    if (store.log.placement.plan?.frozen === undefined || events.includes("thaw"))
      return raiseGen.call(this, position);
    return Promise.reject(new MoverError("unreachable", "no route"));
  };
  try {
    const mover = store.mover({}, [], runtime);
    await mover.run();
  } finally {
    EtcdMoverShard.prototype.raiseGen = raiseGen;
  }
  assert.deepEqual(events, ["freeze", "thaw", "back off", "freeze", "move"]);
  assert.deepEqual(await store.seen(), before);
  store.close();
});

test("a source that restarts, and a destination that is compacted: the mover tries again", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let i = 0; i < 300; i++) await put(shard, `/${i}/x`, `${i}`);
  });
  const before = await store.seen();
  await store.log.plan(OTHER);
  const mover = store.mover({ stepKeys: 50, pageKeys: 10 });
  const propose = store.log.proposeChange.bind(store.log);
  let isDown = false;
  store.log.proposeChange = async (each, seals) => {
    const position = await propose(each, seals);
    if (each.kind !== "move" || isDown) return position;
    isDown = true;
    await etcds[0].kill();
    return position;
  };
  const running = mover.run();
  await until(() => isDown && !etcds[0].isRunning);
  const revision = await moverShard(store.shards[1]).revision();
  await store.shards[1].call(KV.Compact, CompactionRequest.encode({ revision }), { idempotent: true });
  await until(() => mover.progress.waiting !== undefined);
  assert.match(mover.progress.waiting ?? "", /shard "s0"/);
  await etcds[0].restart();
  await running;
  assert.equal(store.log.placement.plan, undefined);
  assert.deepEqual(await store.seen(), before);
  store.close();
});

test("a shard that leaves the store and dies before the plan has ended: the plan ends without it, but not at once", async () => {
  const leaving = await startEtcd();
  const store = await Store.open(OTHER, [etcds[0], leaving], async ([, shard]) => {
    for (let i = 0; i < 20; i++) await put(shard, `/left/${i}`, `${i}`);
  });
  await store.log.plan(ONE);
  let minutes = 0;
  const runtime: Runtime = { ...systemRuntime, now: () => systemRuntime.now() + minutes * 60_000 };
  const lines: LogLine[] = [];
  const mover = store.mover({}, lines, runtime);
  const propose = store.log.proposeChange.bind(store.log);
  store.log.proposeChange = async (each, seals) => {
    const position = await propose(each, seals);
    if (each.kind === "move") await leaving.kill();
    return position;
  };
  const running = mover.run();
  const hint = /shard "s1".*goes on without this shard, which leaves the store, if it stays away for 30 s/;
  await until(() => hint.test(mover.progress.waiting ?? ""));
  assert.ok(store.log.placement.plan !== undefined, "it may come back");
  // It may have been there during a pause, so that does not count.
  mover.pause();
  await until(() => mover.progress.waiting === "paused");
  minutes = 1;
  mover.resume();
  await until(() => hint.test(mover.progress.waiting ?? ""));
  assert.ok(store.log.placement.plan !== undefined, "it may come back");
  minutes = 2;
  await running;
  assert.equal(store.log.placement.plan, undefined);
  assert.equal((await list(store.shards[0])).length, 20);
  assert.ok(lines.some(({ message }) => message.includes("a shard leaves the store that cannot be reached")));
  store.close();
  await leaving.remove();
});

test("10,000 keys", async () => {
  const store = await open(ONE, async ([shard]) => {
    for (let at = 0; at < 10_000; at += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, i) => put(shard, `/${(at + i) % 97}/${at + i}`, "v".repeat(100))),
      );
    }
  });
  await store.log.plan(OTHER);
  const mover = store.mover();
  const since = performance.now();
  await mover.run();
  const seconds = (performance.now() - since) / 1_000;
  const { keys, steps, longestPauseMs } = mover.progress;
  assert.equal(keys, (await store.seen()).size);
  console.log(
    `${keys} keys in ${steps} steps and ${seconds.toFixed(2)} s: ${Math.round(keys / seconds)} keys/s, ` +
      `longest pause ${longestPauseMs.toFixed(1)} ms`,
  );
  store.close();
});
