import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PutRequest, PutResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { braid, temporaryFolder } from "../support/braid.js";
import type { EtcdProcess } from "../support/etcd.js";
import { type ProxyProcess, startStore, storeConfig } from "../support/store.js";
import { AuthClient } from "./client.js";
import { as, OWN, ok, ROOT, startGuardedEtcds } from "./support.js";

let backends: EtcdProcess[];

before(async () => {
  backends = await startGuardedEtcds(2);
});
after(() => Promise.all(backends.map((etcd) => etcd.remove())));

test("a proxy without a user does not start over shards with authentication, and says what is missing", async () => {
  await assert.rejects(
    startStore({ backends }),
    /the shards have authentication on, but the proxy has no user/,
  );
});

test("a proxy with a wrong password does not start, and names the shard and the user", async () => {
  const config = { auth: { ...OWN, password: "wrong" } };
  await assert.rejects(
    startStore({ backends, config }),
    /shard "shard0" refuses the proxy's own user "braid": etcdserver: authentication failed/,
  );
});

test("a shard's own credentials take precedence, and the token key takes no revision", async () => {
  const shards = backends.map(({ endpoint }, i) => ({ name: `shard${i}`, endpoints: [endpoint], auth: OWN }));
  const store = await startStore({ backends, config: { shards, auth: { ...OWN, password: "wrong" } } });
  const clients: AuthClient[] = [];
  const put = async (proxy: ProxyProcess): Promise<number> => {
    const client = new AuthClient(proxy.endpoint);
    clients.push(client);
    const token = await client.login("root", ROOT.split(":")[1]!);
    const response = await client.call(KV.Put, PutRequest.encode({ key: Buffer.from("/k") }), token);
    return PutResponse.decode(response).header!.revision;
  };
  try {
    const one = store.proxies[0]!;
    const first = await put(one);
    assert.equal(first, 2);
    const two = await store.addProxy();
    assert.equal(await put(two), first + 1);
    await one.restart();
    assert.equal(await put(one), first + 2);
    assert.equal(await put(two), first + 3);
  } finally {
    for (const client of clients) client.close();
    await store.remove();
  }
});

test("braid check reports what the proxies' user lacks", async () => {
  const [shard] = backends as [EtcdProcess];
  await ok(as(ROOT, shard.endpoint, "user", "add", "weak:weak-secret"));
  const file = join(temporaryFolder(), "shards.yaml");
  const check = async (auth: object | undefined) => {
    writeFileSync(file, storeConfig(backends, 1, { ...(auth && { auth }) }));
    return (await braid("check", "--config", file)).stdout;
  };
  assert.match(await check(OWN), /No problems found/);
  const weak = await check({ user: "weak", password: "weak-secret" });
  assert.match(weak, /shard shard0: the proxy's user does not have the role root/);
  assert.match(weak, /shard shard1.*refuses the proxy's own user "weak"/);
  assert.match(
    await check(undefined),
    /shard shard0: authentication is on, but the proxy has no user \(auth\)/,
  );
});
