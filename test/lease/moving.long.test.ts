import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Leases } from "../../src/lease/leases.js";
import type { Parts } from "../../src/lease/parts.js";
import type { Reaper } from "../../src/lease/reaper.js";
import { LocatorRouter } from "../../src/reshard/locatorRouter.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import { LeaseRevokeRequest, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { ManualMover } from "../kv/manualMover.js";
import { openPlain, type TestProxy } from "../kv/pair.js";
import { until } from "../support/until.js";
import {
  ALL_SHARDS,
  disturbed,
  type MovingProxy,
  MovingStore,
  StaleView,
  WITHOUT_FIRST,
} from "./movingStore.js";

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

interface Held {
  readonly id: bigint;
  readonly keys: readonly string[];
}

function signal(): { readonly given: Promise<void>; readonly give: () => void } {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

/* Two proxies. Plans take a shard, which is the home of leases, out of use and back. */
describe("leases while keys move", () => {
  let store: MovingStore;
  /** Leases that must be alive. */
  let held: Held[];

  const clients = () => store.proxies.map(({ client }) => client);
  const other = (n: number) => clients()[(n + 1) % 2]!;

  beforeEach(async () => {
    store = await MovingStore.open();
    held = [];
  });
  afterEach(() => store.close());

  /** Grants a lease through the n-th proxy, with a key of each prefix put through both. */
  async function hold(n: number, ttl: number, id = 0n): Promise<Held> {
    const granted = await clients()[n]!.grant(ttl, id);
    const keys = store.keys();
    for (const [i, key] of keys.entries()) await clients()[i % 2]!.put(key, granted.id);
    return { id: granted.id, keys };
  }

  async function checkAlive({ id, keys }: Held, what: string): Promise<void> {
    for (const client of clients()) {
      assert.equal((await client.renew(id)).ttl, 60, `${what}: keep-alive`);
      const { ttl, grantedTtl, keys: listed } = await client.timeToLive(id, true);
      assert.ok(ttl > 50 && grantedTtl === 60, `${what}: time to live ${ttl}`);
      assert.deepEqual(listed.map(String), keys, `${what}: keys`);
    }
    assert.deepEqual(await store.present(keys), keys, what);
  }

  async function checkDead({ id, keys }: Held, what: string): Promise<void> {
    assert.deepEqual(await store.present(keys), [], what);
    for (const client of clients()) {
      assert.equal((await client.renew(id)).ttl, 0, `${what}: keep-alive`);
      assert.equal((await client.timeToLive(id)).ttl, -1, `${what}: time to live`);
      await assert.rejects(client.revoke(id), /requested lease not found/, what);
      await assert.rejects(client.put(keys[0]!, id), /requested lease not found/, what);
    }
  }

  /** Uses leases in all ways. */
  async function checkAll(stage: string): Promise<void> {
    for (const each of held) await checkAlive(each, `${stage}, ${each.id}`);
    for (const n of [0, 1]) {
      held.push(await hold(n, 60), await hold(n, 60), { id: (await clients()[n]!.grant(60)).id, keys: [] });
      const doomed = await hold(n, 60);
      const given = await hold(n, 60, BigInt(1_000_000 + n));
      for (const each of [doomed, given]) {
        await checkAlive(each, `${stage}, new`);
        await other(n).revoke(each.id);
        await checkDead(each, `${stage}, revoked`);
      }
      const [older] = held.splice(0, 1);
      await clients()[n]!.revoke(older!.id);
      for (const client of clients()) assert.equal((await client.renew(older!.id)).ttl, 0, stage);
      assert.deepEqual(await store.present(older!.keys), [], stage);
    }
    const expiring = await hold(0, 1);
    await until(`${stage}: a lease expires`, async () => (await store.present(expiring.keys)).length === 0);
    for (const client of clients()) {
      const { leases } = await client.leases();
      const ids = leases.filter((id) => id !== expiring.id);
      assert.deepEqual(ids.sort(), held.map(({ id }) => id).sort(), `${stage}: each lease is listed once`);
    }
  }

  /** Carries out a plan. Checks leases before its first step and before its end. */
  async function carryOut(n: number): Promise<void> {
    let calls = 0;
    const proxy = store.proxies[n]!;
    const mover = proxy.mover(async (plan) => {
      await checkAll(`plan ${plan.number}, ${calls++ === 0 ? "first step" : "end"}`);
      await proxy.leases.prepareHomes(plan);
    });
    await mover.run();
    assert.equal(calls, 2, mover.progress.waiting);
    for (const { store: opened } of store.proxies) {
      await opened.timeline.sync();
      assert.equal(opened.timeline.placement.plan, undefined);
    }
  }

  test("they live on, also without the shard that was their home, and are where they belong", async () => {
    for (const [home, next] of [
      [0, 1],
      [0, 2],
      [1, 1],
      [0, 1],
      [0, 2],
      [0, 1],
      [2, 2],
    ] as const)
      held.push(await hold(home % 2, 60, await store.idAt(ALL_SHARDS, home, WITHOUT_FIRST, next)));
    const bare = await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1);
    await clients()[0]!.grant(60, bare);
    held.push({ id: bare, keys: [] });
    await checkAll("before");

    await store.plan(WITHOUT_FIRST);
    await carryOut(1);
    await checkAll("after the removal");
    for (const { store: opened } of store.proxies) opened.retireShard(0);
    await store.etcds[0]!.kill();
    await checkAll("without the shard");

    const short = await hold(0, 2);
    const end = Date.now() + 7_000;
    while (Date.now() < end) {
      assert.equal((await clients()[1]!.renew(short.id)).ttl, 2);
      await pause(300);
    }
    assert.deepEqual(await store.present(short.keys), short.keys);
    await until("it expires", async () => (await store.present(short.keys)).length === 0);
    await until("its placements are gone", () => !store.timeline.placements.has(short.id));

    await store.etcds[0]!.restart();
    await store.plan(ALL_SHARDS);
    await carryOut(0);
    await checkAll("after the return");
    const { placements } = store.timeline;
    for (const { id } of held.splice(0)) await clients()[0]!.revoke(id);
    await until("no placement is left", () => placements.size === 0);
  });

  test("a grant under way when the plan began is found before the plan ends, and a later one finds the plan", async () => {
    const [id, last] = [
      await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 2),
      await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1),
    ];
    await store.plan(WITHOUT_FIRST);
    const { leases } = store.proxies[0]!;
    let calls = 0;
    const mover = store.proxies[0]!.mover(async (plan) => {
      await leases.prepareHomes(plan);
      // As from a proxy that did not know of the plan when it asked the shard.
      if (calls++ === 0) await store.backends[0]!.grant(60, id);
      else await clients()[1]!.grant(60, last);
    });
    await mover.run();
    await checkAlive({ id, keys: [] }, "after the plan");
    await checkAlive({ id: last, keys: [] }, "granted last");
  });

  test("a plan that is turned back leaves leases where they were", async () => {
    held.push(await hold(0, 60, await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1)));
    held.push(await hold(0, 60, await store.idAt(ALL_SHARDS, 1, WITHOUT_FIRST, 1)));
    await store.plan(WITHOUT_FIRST);
    const { timeline } = store;
    const mover = store.proxies[0]!.mover(async (plan) => {
      await store.proxies[0]!.leases.prepareHomes(plan);
      if (plan.up) await timeline.proposeChange({ kind: "turn back", plan: plan.number });
    });
    await mover.run();
    assert.ok(timeline.placement.inForce === (await store.text(ALL_SHARDS)));
    await checkAll("after the plan");
  });

  describe("step by step", () => {
    let mover: ManualMover;
    let close: () => void;

    beforeEach(() => {
      const plain = store.etcds.map(openPlain);
      const { store: opened } = store.proxies[0]!;
      mover = new ManualMover(
        { store: opened } as unknown as TestProxy,
        plain.map(({ ask }) => ask),
      );
      close = () => {
        for (const each of plain) each.close();
      };
    });
    afterEach(() => close());

    /** Whether the store has the key at this revision, as a client sees it. */
    async function has(key: string, revision: number): Promise<boolean> {
      const request = RangeRequest.encode({ key: Buffer.from(key), revision });
      const answer = await clients()[1]!.shard.call(KV.Range, request, { idempotent: true });
      return RangeResponse.decode(answer).count > 0;
    }

    for (const at of ["copied", "frozen", "ready", "moved", "cleaned"] as const) {
      test(`a revocation at the stage "${at}" answers when all keys are gone, at a revision without them`, async () => {
        const lease = await hold(0, 60, await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1));
        await mover.plan(await store.text(WITHOUT_FIRST));
        for (const { store: opened } of store.proxies) await opened.timeline.sync();
        const order: string[] = [];
        let revoked: Promise<void> = Promise.resolve();
        await mover.step(null, async (stage) => {
          order.push(stage);
          if (stage !== at) return;
          revoked = clients()[1]!
            .revoke(lease.id)
            .then(async ({ header }) => {
              order.push("revoked");
              for (const key of lease.keys) assert.ok(!(await has(key, header!.revision)), `${key} is gone`);
            });
          if (at === "frozen" || at === "ready") {
            const isGone = async () => (await store.backends[0]!.timeToLive(lease.id)).ttl < 0;
            await until("the source has ended its part", isGone);
            // The answer of a revocation that does not wait needs a round trip at most.
            for (const { store: opened } of store.proxies) await opened.timeline.sync();
            await pause(100);
          } else await revoked;
        });
        await revoked;
        const waited = order.indexOf("revoked") > order.indexOf("moved");
        assert.equal(waited, at !== "copied", order.join());
        await checkDead(lease, at);
      });
    }

    test("the keys of a lease are listed once at every stage", async () => {
      const lease = await hold(0, 60, await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1));
      await mover.plan(await store.text(WITHOUT_FIRST));
      const stages: string[] = [];
      await mover.step(null, async (stage) => {
        stages.push(stage);
        for (const client of clients()) {
          const { keys } = await client.timeToLive(lease.id, true);
          assert.deepEqual(keys.map(String), lease.keys, stage);
        }
      });
      assert.ok(stages.includes("copied") && stages.includes("cleaned"), stages.join());
    });

    test("a lease that expires while its step is frozen ends everywhere", async () => {
      const lease = await hold(0, 60, await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1));
      // A proxy that has never seen a part takes it for one that is not granted yet.
      const seen = ({ leases }: MovingProxy) =>
        !(Reflect.get(leases, "parts") as Parts).mayLackGrant(lease.id, 2);
      await until("both proxies have seen the part", () => store.proxies.every(seen));
      await mover.plan(await store.text(WITHOUT_FIRST));
      await mover.step(null, async (stage) => {
        // What a shard does when the part expires there.
        if (stage === "ready") await store.backends[2]!.revoke(lease.id);
      });
      await until("all keys are gone", async () => (await store.present(lease.keys)).length === 0);
      await until("its placements are gone", () => !store.timeline.placements.has(lease.id));
      await checkDead(lease, "expired");
    });
  });

  test("a part that the mover grants again while its lease is being ended is ended, too", async () => {
    const { shards, router, timeline } = store.proxies[0]!.store;
    const lease = await hold(0, 60, await store.idAt(ALL_SHARDS, 1, WITHOUT_FIRST, 1));
    await store.plan(WITHOUT_FIRST);
    // Their sweeps would end the lease, too, as soon as its home is gone.
    for (const proxy of store.proxies) (Reflect.get(proxy.leases, "reaper") as Reaper).stop();
    let again = 2;
    const granting = disturbed(shards, async (path, request, index, send) => {
      const answer = await send();
      if (path === Lease.LeaseRevoke && index === 2 && again-- > 0)
        await store.backends[2]!.grant(60, LeaseRevokeRequest.decode(request).id);
      return answer;
    });
    const log = { warn() {} };
    const leases = new Leases({ shards: granting, router, timeline, log, runtime: systemRuntime });
    await leases.revoke(lease.id);
    leases.stop();
    assert.ok(again < 0, "it was granted again");
    for (const backend of store.backends) assert.equal((await backend.timeToLive(lease.id)).ttl, -1);
    await checkDead(lease, "revoked");
  });

  describe("a proxy that has not read of a plan that has ended", () => {
    let late: Leases;
    let lease: Held;
    let fresh: Held;
    let view: StaleView;
    /** Milliseconds that each look at the clock takes. */
    let slow: number;

    beforeEach(async () => {
      const { shards, timeline } = store.proxies[0]!.store;
      lease = await hold(0, 60, await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1));
      view = new StaleView(timeline);
      slow = 0;
      let now = 0;
      const runtime = { ...systemRuntime, now: () => (now += slow) };
      const router = new LocatorRouter(view.timeline);
      late = new Leases({ shards, router, timeline: view.timeline, log: { warn() {} }, runtime });
      await store.plan(WITHOUT_FIRST);
      await store.proxies[1]!.mover().run();
      fresh = await hold(1, 60, await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 2));
      // Its part on the removed shard has expired.
      await store.backends[0]!.revoke(lease.id);
    });
    afterEach(() => late.stop());

    const renew = (id: bigint) =>
      new Promise<number>((resolve, reject) => {
        late.renew(id, (error, ttl) => (error === undefined ? resolve(ttl) : reject(error)));
      });

    test("keeps leases alive", async () => {
      assert.equal(await renew(lease.id), 60);
      view.isStale = true;
      assert.equal(await renew(fresh.id), 60);
      for (const each of [lease, fresh]) await checkAlive(each, "after that");
    });

    test("finds leases", async () => {
      assert.equal((await late.look(lease.id, false))?.grantedTtl, 60);
      view.isStale = true;
      assert.equal((await late.look(fresh.id, false))?.grantedTtl, 60);
      for (const each of [lease, fresh]) await checkAlive(each, "after that");
    });

    test("ends leases", async () => {
      for (const each of [lease, fresh]) {
        view.isStale = true;
        view.hides = true;
        await late.revoke(each.id);
        await checkDead(each, "revoked");
      }
    });

    test("grants leases at their homes, although it began long before", async () => {
      const id = await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1);
      view.hides = true;
      slow = 1_500;
      await late.grant(id, 60);
      await checkAlive({ id, keys: [] }, "granted");
      await until("none is left on the shard", async () => (await store.backends[0]!.timeToLive(id)).ttl < 0);
    });
  });

  for (const [at, when] of [
    ["home", "before its part at the next home is logged"],
    ["next", "before its part at the next home is granted"],
  ] as const) {
    test(`a grant under way when a plan ends, ${when}, grants the lease at its new home`, async () => {
      const { shards, timeline } = store.proxies[0]!.store;
      const id = await store.idAt(ALL_SHARDS, 0, WITHOUT_FIRST, 1);
      const view = new StaleView(timeline);
      view.isStale = false;
      const [reached, ended] = [signal(), signal()];
      let isFirst = true;
      const stopping = disturbed(shards, async (path, _, index, send) => {
        if (path !== Lease.LeaseGrant || index !== (at === "home" ? 0 : 1) || !isFirst) return send();
        isFirst = false;
        const answer = at === "home" ? await send() : undefined;
        view.stop();
        reached.give();
        await ended.given;
        return answer ?? send();
      });
      const router = new LocatorRouter(view.timeline);
      const runtime = { ...systemRuntime, now: () => 0 };
      const late = new Leases({
        shards: stopping,
        router,
        timeline: view.timeline,
        log: { warn() {} },
        runtime,
      });
      await store.plan(WITHOUT_FIRST);
      let calls = 0;
      let granted: Promise<unknown> = Promise.resolve();
      const { leases } = store.proxies[1]!;
      const mover = store.proxies[1]!.mover(async (plan) => {
        await leases.prepareHomes(plan);
        if (calls++ === 0) return;
        granted = late.grant(id, 60);
        granted.catch(() => {});
        await reached.given;
      });
      try {
        await mover.run();
        ended.give();
        await granted;
      } finally {
        late.stop();
      }
      const keys = store.keys();
      for (const key of keys) await clients()[1]!.put(key, id);
      await checkAlive({ id, keys }, "granted");
      await until("none is left on the shard", async () => (await store.backends[0]!.timeToLive(id)).ttl < 0);
    });
  }

  test(`leases are used all the time while plans go back and forth (SEED=${SEED})`, async () => {
    let state = SEED;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return Math.floor((state / 2 ** 31) * below);
    };
    const revoked: Held[] = [];
    let isDone = false;
    const work = async (n: number) => {
      while (!isDone) {
        const client = clients()[random(2)]!;
        const mine = held.filter(({ id }) => Number(id) % 3 === n);
        if (mine.length < 4) {
          const id = BigInt(2_000_000 + random(1_000_000) * 3 + n);
          if (held.concat(revoked).some((each) => each.id === id)) continue;
          held.push(await hold(random(2), 60, id));
          continue;
        }
        const each = mine[random(mine.length)]!;
        if (random(3) > 0) {
          assert.equal((await client.renew(each.id)).ttl, 60, `${each.id} is alive`);
          await client.put(each.keys[random(3)]!, each.id);
        } else {
          held = held.filter((one) => one !== each);
          await client.revoke(each.id);
          revoked.push(each);
          assert.deepEqual(await store.present(each.keys), [], `${each.id} is gone`);
        }
      }
    };
    const workers = [0, 1, 2].map(work);
    const failed = Promise.all(workers);
    failed.catch(() => {});
    for (const [n, map] of [WITHOUT_FIRST, ALL_SHARDS, WITHOUT_FIRST, ALL_SHARDS].entries()) {
      await store.plan(map);
      await store.proxies[n % 2]!.mover().run();
      await store.timeline.sync();
      assert.equal(store.timeline.placement.plan, undefined);
    }
    isDone = true;
    await failed;
    assert.ok(revoked.length > 10, `${revoked.length} leases were revoked`);
    for (const each of held) await checkAlive(each, "at the end");
    for (const each of revoked) assert.deepEqual(await store.present(each.keys), [], `${each.id} is gone`);
  });
});
