import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Endings } from "../../src/lease/endings.js";
import type { LeaseCalls } from "../../src/lease/leaseCalls.js";
import { Code, StatusError } from "../../src/status/error.js";
import { type Relay, startRelay } from "../shard/support.js";
import { type Client, TestStore, within } from "./support.js";

/*
 * A client's revocation fails at one proxy. It revokes the lease through another and grants the same id again. The first
 * proxy, which was cut off from the lease's home all the time, must not end the new lease.
 */

const HOME = 2;
let store: TestStore;
let relay: Relay;
let cutOff: Client;
let other: Client;

before(async () => {
  store = await TestStore.start();
  relay = await startRelay(store.etcds[HOME].endpoint);
  cutOff = (await store.proxy(0, { [HOME]: relay.endpoint })).client;
  other = (await store.proxy()).client;
});
after(async () => {
  await store.remove();
  await relay.close();
});

/** Checks that the lease lives while the first proxy could still try to end it. */
async function staysAlive(id: bigint, keys: readonly string[]): Promise<void> {
  relay.refuse(false);
  await within(20_000, "the proxy reaches the home again", () =>
    cutOff.timeToLive(id).then(
      () => true,
      () => false,
    ),
  );
  const until = Date.now() + 2_500;
  while (Date.now() < until) {
    assert.ok((await other.timeToLive(id)).grantedTtl > 0, "the lease is there");
    assert.deepEqual(await store.present(store.keys().map((_, i) => keys[i] ?? "none")), keys);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal((await cutOff.renew(id)).ttl, 60);
}

test("a lease without placements", async () => {
  const id = store.idAt(HOME);
  await other.grant(60, id);
  relay.refuse(true);
  await assert.rejects(cutOff.revoke(id), { code: Code.UNAVAILABLE });
  await other.revoke(id);
  await other.grant(60, id);
  await staysAlive(id, []);
});

test("a lease with keys on several shards, on the same shards again", async () => {
  const { id, keys } = await store.everywhere(other, 60, HOME);
  relay.refuse(true);
  await assert.rejects(cutOff.revoke(id), { code: Code.UNAVAILABLE });
  // The first proxy may have ended the lease through the parts it reached. If not, the client revokes it.
  await other.revoke(id).catch((error) => assert.equal(error.code, Code.NOT_FOUND));
  await within(5_000, "all keys are gone", store.gone(keys));
  await other.grant(60, id);
  for (const key of keys) await other.put(key, id);
  await staysAlive(id, keys);
});

test("a lease that is granted again while the first proxy waits for its home", async () => {
  const { leases, client } = await store.proxy();
  const calls: LeaseCalls = Reflect.get(leases, "calls");
  const endings: Endings = Reflect.get(leases, "endings");
  const away = new StatusError(Code.UNAVAILABLE, "the home is away");
  let wait = () => {};
  const waiting = new Promise<void>((resolve) => (wait = resolve));
  let fail = () => {};
  const failing = new Promise<void>((resolve) => (fail = resolve));
  const revoke = calls.revoke.bind(calls);
  calls.revoke = async (shard, ...rest) => {
    if (shard !== HOME) return revoke(shard, ...rest);
    wait();
    await failing;
    throw away;
  };
  const { id, keys } = await store.everywhere(other, 60, HOME);
  const refused = assert.rejects(client.revoke(id), { code: Code.UNAVAILABLE });
  await waiting;
  await other.revoke(id);
  await other.grant(60, id);
  for (const key of keys) await other.put(key, id);
  fail();
  await refused;
  await within(5_000, "the proxy has given up", () => !endings.isEnding(id));
  assert.deepEqual(await store.present(keys), keys);
  assert.equal((await client.renew(id)).ttl, 60);
});

test("a revocation that another proxy completes answers a revision at which no key is left", async () => {
  const { leases, client } = await store.proxy();
  const calls: LeaseCalls = Reflect.get(leases, "calls");
  const revoke = calls.revoke.bind(calls);
  calls.revoke = async (shard, id, ...rest) => {
    const revision = await revoke(shard, id, ...rest);
    if (shard === HOME) await other.revoke(id).catch((error) => assert.equal(error.code, Code.NOT_FOUND));
    return revision;
  };
  const { id, keys } = await store.everywhere(other, 60, HOME);
  const { header } = await client.revoke(id);
  const now = await other.get(keys[0]);
  assert.equal(now.count, 0);
  assert.equal(header!.revision, now.header!.revision, "the last deletion's");
});
