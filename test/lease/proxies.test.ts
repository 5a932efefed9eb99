import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { LeaseCalls } from "../../src/lease/leaseCalls.js";
import type { Parts } from "../../src/lease/parts.js";
import { type Client, type TestProxy, TestStore, within } from "./support.js";

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

describe("leases over several proxies", () => {
  let store: TestStore;

  before(async () => {
    store = await TestStore.start();
  });
  afterEach(() => store.stopProxies());
  after(() => store.remove());

  /** Renews twice a second, `times` times. `during` must hold after each. */
  async function keepAlive(client: Client, id: bigint, times: number, during: () => Promise<void>) {
    for (let i = 0; i < times; i++) {
      assert.ok((await client.renew(id)).ttl > 0, "the lease is alive");
      await pause(500);
      await during();
    }
  }

  test("a lease placed through one proxy is kept alive everywhere by another, which never saw its client", async () => {
    const [a, b] = [await store.proxy(), await store.proxy()];
    const { id, keys } = await store.everywhere(a.client, 3);
    await a.stop();
    await keepAlive(b.client, id, 10, async () => assert.deepEqual(await store.present(keys), keys));
    await b.stop();
    await within(10_000, "a key expires", async () => (await store.present(keys)).length < 3);
    await within(2_000, "all keys are gone though no proxy runs", store.gone(keys));
  });

  test("a restarted proxy needs only the placements", async () => {
    const a = await store.proxy();
    const { id, keys } = await store.everywhere(a.client, 3);
    await a.stop();
    const b = await store.proxy();
    await keepAlive(b.client, id, 8, async () => assert.deepEqual(await store.present(keys), keys));
    assert.deepEqual((await b.client.timeToLive(id, true)).keys.map(String), keys);
    await b.client.revoke(id);
    assert.deepEqual(await store.present(keys), []);
  });

  test("a part lost while no proxy ran ends the lease as soon as one runs", async () => {
    const a = await store.proxy();
    const { id, keys } = await store.everywhere(a.client, 60);
    await a.stop();
    await store.backends[2].revoke(id);
    await store.proxy();
    await within(2_000, "all keys are gone", store.gone(keys));
  });

  test("a lease that expired while no proxy ran leaves no placement behind", async () => {
    const a = await store.proxy();
    const { id, keys } = await store.everywhere(a.client, 2);
    await a.stop();
    await within(10_000, "all keys are gone", store.gone(keys));
    const b = await store.proxy();
    assert.ok(b.timeline.placements.has(id));
    await within(5_000, "the placements are gone", () => !b.timeline.placements.has(id));
  });

  describe("a proxy that lags behind the log", () => {
    let a: Client;
    let late: Client;

    beforeEach(async () => {
      a = (await store.proxy()).client;
      late = (await store.proxy(300)).client;
    });

    test("revokes parts that it does not know of yet", async () => {
      const { id, keys } = await store.everywhere(a, 60);
      await late.revoke(id);
      assert.deepEqual(await store.present(keys), []);
    });

    test("revokes the only part with a key, which it does not know of yet", async () => {
      const id = store.idAt(1);
      await a.grant(60, id);
      const key = store.keys()[2];
      await a.put(key, id);
      await late.revoke(id);
      assert.equal(await store.backends[2].has(key), false);
    });

    test("lists the keys of parts that it does not know of yet", async () => {
      const { id, keys } = await store.everywhere(a, 60);
      assert.deepEqual((await late.timeToLive(id, true)).keys.map(String), keys);
      await a.revoke(id);
    });

    test("grants an id only after the parts of the previous lease are gone", async () => {
      const { id, keys } = await store.everywhere(a, 60);
      await store.backends[0].revoke(id);
      await late.grant(60, id);
      assert.deepEqual(await store.present(keys), []);
      assert.equal((await a.renew(id)).ttl, 60);
      await a.revoke(id);
    });

    test("does not take a part that is being granted for a lost one", async () => {
      for (let i = 0; i < 2; i++) {
        const { id, keys } = await store.everywhere(a, 60);
        await late.put(keys[1], id);
        assert.equal((await late.renew(id)).ttl, 60);
        await late.revoke(id);
      }
    });
  });

  test("a keep-alive through a proxy that has not read of a part for seconds renews it, too", async () => {
    const a = await store.proxy();
    let hear = () => {};
    const late = await store.proxy(new Promise((resolve) => (hear = resolve)));
    const { id } = await store.everywhere(a.client, 60);
    const left = () => Promise.all(store.backends.map(async (backend) => (await backend.timeToLive(id)).ttl));
    await within(10_000, "all parts have lost two seconds", async () => Math.max(...(await left())) <= 58);
    const renewed = late.client.renew(id);
    hear();
    assert.equal((await renewed).ttl, 60);
    const seconds = await left();
    assert.ok(Math.min(...seconds) >= 59, `seconds left: ${seconds}`);
    await a.client.revoke(id);
  });

  describe("a placement whose proxy died before it granted the part", () => {
    let a: TestProxy;
    let b: TestProxy;
    let id: bigint;
    let key: string;

    async function placeAndDie(): Promise<void> {
      [a, b] = [await store.proxy(), await store.proxy()];
      id = store.idAt(0);
      key = store.keys()[1];
      await a.client.grant(60, id);
      a.leases.stop();
      await a.timeline.place(id, 1);
      await a.stop();
    }

    test("is completed by a put through another proxy", async () => {
      await placeAndDie();
      await b.client.put(key, id);
      assert.deepEqual((await b.client.timeToLive(id, true)).keys.map(String), [key]);
    });

    test("is completed by a keep-alive through another proxy", async () => {
      await placeAndDie();
      assert.equal((await b.client.renew(id)).ttl, 60);
      assert.equal((await store.backends[1].timeToLive(id)).grantedTtl, 60);
    });

    test("is completed by another proxy without a call", async () => {
      await placeAndDie();
      const there = async () => (await store.backends[1].timeToLive(id)).grantedTtl === 60;
      await within(5_000, "the part is granted", there);
      assert.equal((await b.client.renew(id)).ttl, 60);
    });
  });

  test("a proxy that could not check a shard for seconds does not end a lease whose part is being granted", async () => {
    const [a, b] = [await store.proxy(), await store.proxy()];
    const id = store.idAt(0);
    const key = store.keys()[1];
    await a.client.grant(60, id);
    let granting = () => {};
    const gate = new Promise<void>((resolve) => (granting = resolve));
    const callsOfA: LeaseCalls = Reflect.get(a.leases, "calls");
    const grant = callsOfA.grant.bind(callsOfA);
    callsOfA.grant = (...args) => gate.then(() => grant(...args));
    const partsOfB: Parts = Reflect.get(b.leases, "parts");
    const refresh = partsOfB.refresh.bind(partsOfB);
    partsOfB.refresh = () => {
      const vanished = refresh();
      partsOfB.blind(1);
      return vanished;
    };
    let missed = 0;
    const callsOfB: LeaseCalls = Reflect.get(b.leases, "calls");
    const look = callsOfB.look.bind(callsOfB);
    callsOfB.look = async (shard, lease, ...rest) => {
      const part = await look(shard, lease, ...rest);
      if (shard === 1 && lease === id && part === undefined) missed++;
      return part;
    };
    const put = a.client.put(key, id);
    const isGone = async () => (await store.backends[0].timeToLive(id)).grantedTtl === 0;
    await within(10_000, "the other proxy misses the part", async () => missed > 1 || (await isGone()));
    granting();
    await put;
    assert.equal((await b.client.renew(id)).ttl, 60);
    assert.deepEqual((await b.client.timeToLive(id, true)).keys.map(String), [key]);
    await a.client.revoke(id);
  });

  test(`puts through one proxy against a revocation through another leave nothing (SEED=${SEED})`, async () => {
    const [a, b] = [await store.proxy(), await store.proxy()];
    let state = SEED;
    const random = () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return state / 2 ** 31;
    };
    for (let round = 0; round < 40; round++) {
      const id = store.idAt(Math.floor(random() * 3));
      await a.client.grant(60, id);
      const keys = store.keys();
      const puts = keys.map(async (key) => {
        await pause(random() * 20);
        return a.client.put(key, id).then(
          () => true,
          (error) => {
            assert.equal(error.message, "etcdserver: requested lease not found");
            return false;
          },
        );
      });
      await pause(random() * 30);
      await b.client.revoke(id);
      const accepted = await Promise.all(puts);
      await within(2_000, `round ${round}: all keys are gone, accepted ${accepted}`, store.gone(keys));
      const unplaced = () => !a.timeline.placements.has(id) && !b.timeline.placements.has(id);
      await within(5_000, `round ${round}: no placement is left`, unplaced);
      const left = async () => {
        const parts = await Promise.all(store.backends.map((backend) => backend.timeToLive(id)));
        return parts.every(({ grantedTtl }) => grantedTtl === 0);
      };
      await within(2_000, `round ${round}: no part is left`, left);
    }
  });
});
