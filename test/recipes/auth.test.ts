import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { as, ok, ROOT, startGuardedStore } from "../auth/support.js";
import type { TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { type Message, RecipeClient } from "./client.js";

/* Lock and Election with authentication on: the proxy acts for a client with the client's permissions. */

let store: TestStore;

before(async () => {
  store = await startGuardedStore({ shards: 2, proxies: 2 });
  const root = (...args: string[]) => ok(as(ROOT, store.endpoint, ...args));
  await root("role", "add", "locks");
  await root("role", "grant-permission", "locks", "--prefix=true", "readwrite", "locks/");
  await root("user", "add", "alice:alice-secret");
  await root("user", "grant-role", "alice", "locks");
});
after(async () => {
  await store?.remove();
});

/** A client of one proxy with a token that the other one has issued. */
async function login(t: TestContext, user: string, password: string): Promise<RecipeClient> {
  const [from, to] = store.proxies.map(({ endpoint }) => new RecipeClient(endpoint));
  const { response, text } = await from.call("Auth.Authenticate", { name: user, password });
  assert.equal(text, "");
  from.close();
  to.metadata.set("token", response.token as string);
  t.after(() => to.close());
  return to;
}

test("a user can lock, wait, leave the queue and be elected below its prefix", async (t) => {
  const alice = await login(t, "alice", "alice-secret");
  const held = await alice.call("Lock.Lock", { name: "locks/a" });
  assert.equal(held.text, "");
  const goes = alice.start("Lock.Lock", { name: "locks/a" });
  await until("one stands in line", async () => (await alice.keys("locks/a/")).length === 2);
  goes.cancel();
  await until("it has left", async () => (await alice.keys("locks/a/")).length === 1);
  const waits = alice.start("Lock.Lock", { name: "locks/a" });
  await until("one stands in line", async () => (await alice.keys("locks/a/")).length === 2);
  await alice.call("Lock.Unlock", { key: held.response.key as string });
  assert.equal((await waits.answer).text, "");

  const observer = alice.observe("locks/e");
  const won = await alice.call("Election.Campaign", { name: "locks/e", value: "alice" });
  assert.equal(won.text, "");
  await observer.count(1);
  const { text } = await alice.call("Election.Resign", { leader: won.response.leader as Message });
  assert.equal(text, "");
  observer.cancel();
});

test("keys without permission, and calls without a token, are refused", async (t) => {
  const alice = await login(t, "alice", "alice-secret");
  const nobody = new RecipeClient(store.endpoint);
  t.after(() => nobody.close());
  for (const [client, name, refusal] of [
    [alice, "other/a", "etcdserver: permission denied"],
    [nobody, "locks/n", "etcdserver: user name is empty"],
  ] as const) {
    for (const [method, request] of [
      ["Lock.Lock", { name }],
      ["Election.Campaign", { name, value: "v" }],
      ["Election.Leader", { name }],
      ["Lock.Unlock", { key: `${name}/1` }],
    ] as const) {
      assert.equal((await client.call(method, request)).text, refusal, `${method} ${name}`);
    }
    const observer = client.observe(name);
    assert.equal((await observer.ended()).details, refusal);
    assert.deepEqual(observer.seen, []);
  }
  const bad = new RecipeClient(store.endpoint);
  bad.metadata.set("token", "not-a-token");
  assert.equal((await bad.call("Lock.Lock", { name: "locks/b" })).text, "etcdserver: invalid auth token");
  bad.close();
});
