import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { etcdctl } from "../support/etcdctl.js";
import type { TestStore } from "../support/store.js";
import { as, ok, ROOT, startGuardedStore } from "./support.js";

let store: TestStore;
let one: string;
let two: string;

before(async () => {
  store = await startGuardedStore({ shards: 3, proxies: 2 });
  [one, two] = store.proxies.map(({ endpoint }) => endpoint);
});
after(() => store.remove());

test("users, roles and grants through one proxy hold at the other, on every shard", async () => {
  await ok(as(ROOT, one, "user", "add", "app:app-secret"));
  await ok(as(ROOT, one, "role", "add", "apps"));
  await ok(as(ROOT, one, "role", "grant-permission", "apps", "readwrite", "--prefix", "/app/"));
  await ok(as(ROOT, two, "user", "grant-role", "app", "apps"));
  for (let i = 0; i < 4; i++) await ok(as("app:app-secret", i % 2 ? one : two, "put", `/app/${i}/x`, `${i}`));
  assert.equal(
    (await ok(as("app:app-secret", two, "get", "--prefix", "/app/", "--keys-only"))).trim().split(/\s+/)
      .length,
    4,
  );
  const denied = await as("app:app-secret", one, "put", "/other", "x");
  assert.match(denied.stderr, /etcdserver: permission denied/);
  const all = await as("app:app-secret", one, "get", "--prefix", "");
  assert.match(all.stderr, /etcdserver: permission denied/);
  const nobody = await etcdctl(one, "get", "/app/1/x");
  assert.match(nobody.stderr, /etcdserver: user name is empty/);
  const wrong = await as("app:wrong", one, "get", "/app/1/x");
  assert.match(wrong.stderr, /etcdserver: authentication failed, invalid user ID or password/);
});
