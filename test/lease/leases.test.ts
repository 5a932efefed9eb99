import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { StatusError } from "../../src/status/error.js";
import { type Client, type TestProxy, TestStore, within } from "./support.js";

/** Leases through one proxy, and through two, over three real etcds. */
describe("leases over several shards", () => {
  let store: TestStore;
  let proxy: TestProxy;
  let client: Client;

  before(async () => {
    store = await TestStore.start();
    proxy = await store.proxy();
    client = proxy.client;
  });
  after(() => store.remove());

  test("a grant returns its id, its TTL and the store's revision", async () => {
    const { header } = await client.put("a/0");
    const chosen = await client.grant(30);
    assert.ok(chosen.id > 0n);
    assert.equal(chosen.ttl, 30);
    assert.equal(chosen.header?.revision, header!.revision);
    const given = await client.grant(30, 77n);
    assert.equal(given.id, 77n);
    await assert.rejects(client.grant(30, 77n), new StatusError(9, "etcdserver: lease already exists"));
    await assert.rejects(client.grant(9_000_000_001), new StatusError(11, "etcdserver: too large lease TTL"));
    await client.revoke(77n);
  });

  test("a put with a lease that was never granted is refused on every shard", async () => {
    for (const key of store.keys()) {
      const notFound = new StatusError(5, "etcdserver: requested lease not found");
      await assert.rejects(client.put(key, 4711n), notFound);
    }
    assert.equal(proxy.timeline.placements.has(4711n), false);
  });

  test("a revocation deletes the keys on all shards before it returns", async () => {
    for (const home of [0, 1, 2]) {
      const { id, keys } = await store.everywhere(client, 60, home);
      const { header } = await client.revoke(id);
      assert.deepEqual(await store.present(keys), []);
      assert.equal((await client.get(keys[0])).header?.revision, header!.revision);
      assert.equal(proxy.timeline.placements.has(id), false);
      assert.equal((await client.timeToLive(id)).ttl, -1);
      await assert.rejects(client.revoke(id), new StatusError(5, "etcdserver: requested lease not found"));
      await assert.rejects(
        client.put(keys[1], id),
        new StatusError(5, "etcdserver: requested lease not found"),
      );
    }
  });

  test("time to live: the granted TTL, and the keys of all shards in order", async () => {
    const { id, keys } = await store.everywhere(client, 60);
    const found = await client.timeToLive(id, true);
    assert.deepEqual([found.id, found.grantedTtl], [id, 60]);
    assert.ok(found.ttl >= 50 && found.ttl <= 60, `TTL ${found.ttl}`);
    assert.deepEqual(found.keys.map(String), keys);
    assert.deepEqual((await client.timeToLive(id)).keys, []);
    await client.revoke(id);
  });

  test("a lease is listed once, however many parts it has", async () => {
    const ids = [];
    for (const home of [0, 1, 2]) ids.push((await store.everywhere(client, 60, home)).id);
    const { leases } = await client.leases();
    for (const id of ids) assert.equal(leases.filter((lease) => lease === id).length, 1);
    for (const id of ids) await client.revoke(id);
    const left = (await client.leases()).leases;
    for (const id of ids) assert.ok(!left.includes(id));
  });

  test("leases are listed in the order in which they were granted", async () => {
    const ids: bigint[] = [];
    const homes = new Set<number>();
    // Ids are random. Grant more until each shard is the home of one.
    while (ids.length < 12 || homes.size < 3) {
      const { id } = await client.grant(60);
      ids.push(id);
      homes.add(store.router.homeOf(id));
    }
    const { leases } = await client.leases();
    assert.deepEqual(
      leases.filter((lease) => ids.includes(lease)),
      ids,
    );
    for (const id of ids) await client.revoke(id);
  });

  test("a keep-alive renews all parts", async () => {
    const { id, keys } = await store.everywhere(client, 3);
    for (let i = 0; i < 12; i++) {
      const { id: answered, ttl } = await client.renew(id);
      assert.deepEqual([answered, ttl], [id, 3]);
      await pause(500);
      assert.deepEqual(await store.present(keys), keys);
    }
    await client.revoke(id);
  });

  test("the keys on all shards are deleted together when the lease expires", async () => {
    const { keys } = await store.everywhere(client, 2);
    await within(10_000, "the first key expires", async () => (await store.present(keys)).length < 3);
    await within(2_000, "all keys are gone", store.gone(keys));
  });

  test("the keep-alive of a dead lease returns TTL 0", async () => {
    const { id, keys } = await store.everywhere(client, 60);
    await store.backends[1].revoke(id);
    assert.equal((await client.renew(id)).ttl, 0);
    assert.deepEqual(await store.present(keys), []);
    assert.equal((await client.renew(id)).ttl, 0);
    assert.equal((await client.renew(4712n)).ttl, 0);
  });

  test("a lost part ends the lease everywhere within two seconds", async () => {
    for (const lost of [0, 1, 2]) {
      const { id, keys } = await store.everywhere(client, 60);
      await store.backends[lost].revoke(id);
      await within(2_000, `all keys are gone after shard ${lost} lost its part`, store.gone(keys));
      await within(2_000, "the lease has no placements", () => !proxy.timeline.placements.has(id));
      assert.deepEqual(await client.timeToLive(id).then(({ ttl, grantedTtl }) => [ttl, grantedTtl]), [-1, 0]);
    }
  });

  test("a put under a lease that lost this part is refused and ends the lease", async () => {
    const { id, keys } = await store.everywhere(client, 60);
    await store.backends[2].revoke(id);
    await assert.rejects(
      client.put(keys[2], id),
      new StatusError(5, "etcdserver: requested lease not found"),
    );
    assert.deepEqual(await store.present(keys), []);
  });

  test("many puts at once share one placement", async () => {
    const id = store.idAt(0);
    await client.grant(60, id);
    const keys = Array.from({ length: 30 }, (_, i) => `b/many/${i}`);
    await Promise.all(keys.map((key) => client.put(key, id)));
    assert.deepEqual([...proxy.timeline.placements.get(id)!], [1]);
    assert.equal((await client.timeToLive(id, true)).keys.length, 30);
    await client.revoke(id);
  });

  test("an id can be granted again right after its end, and has no keys then", async () => {
    const { id, keys } = await store.everywhere(client, 60);
    await client.revoke(id);
    await client.grant(60, id);
    assert.deepEqual((await client.timeToLive(id, true)).keys, []);
    await client.put(keys[2], id);
    assert.deepEqual((await client.timeToLive(id, true)).keys.map(String), [keys[2]]);
    await client.revoke(id);
  });

  test("an id whose home was revoked past the proxy is cleared before it is granted again", async () => {
    const { id, keys } = await store.everywhere(client, 60);
    await store.backends[0].revoke(id);
    await client.grant(60, id);
    assert.deepEqual(await store.present(keys), []);
    await client.revoke(id);
  });
});
