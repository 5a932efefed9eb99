import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { EtcdProcess } from "../support/etcd.js";
import { startStore } from "../support/store.js";
import { OWN, startGuardedEtcds } from "./support.js";

let backends: EtcdProcess[];

before(async () => {
  backends = await startGuardedEtcds(2);
});
after(() => Promise.all(backends.map((etcd) => etcd.remove())));

test("a proxy without a user does not start over shards that ask for one, and says what is missing", async () => {
  await assert.rejects(
    startStore({ backends }),
    /the shards have authentication on, but the proxy has no user/,
  );
});

test("a proxy whose password is wrong does not start, and says which shard refuses whom", async () => {
  const config = { auth: { ...OWN, password: "wrong" } };
  await assert.rejects(
    startStore({ backends, config }),
    /shard "shard0" refuses the proxy's own user "braid": etcdserver: authentication failed/,
  );
});

test("credentials of a shard go before those of all", async () => {
  const shards = backends.map(({ endpoint }, i) => ({ name: `shard${i}`, endpoints: [endpoint], auth: OWN }));
  const store = await startStore({ backends, config: { shards, auth: { ...OWN, password: "wrong" } } });
  await store.remove();
});
