import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PutRequest, PutResponse, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { AuthClient } from "../auth/client.js";
import { as, OWN, ok, ROOT, startGuardedEtcds, startGuardedStore } from "../auth/support.js";
import { braid, temporaryFolder } from "../support/braid.js";
import type { EtcdProcess } from "../support/etcd.js";
import { storeConfig, type TestStore } from "../support/store.js";

/*
 * The timeline moves in a store with authentication, to a cluster with a user of its own, and commands get the file from before.
 */

const TIMELINE_USER = { user: "timeline", password: "timeline-secret-1" };

let store: TestStore;
let dedicated: EtcdProcess;
let oldFile: string;
let newFile: string;

before(async () => {
  store = await startGuardedStore({ shards: 2, proxies: 2, config: { timeline: { host: "shard0" } } });
  [dedicated] = (await startGuardedEtcds(1)) as [EtcdProcess];
  await ok(as(ROOT, dedicated.endpoint, "user", "add", `${TIMELINE_USER.user}:${TIMELINE_USER.password}`));
  await ok(as(ROOT, dedicated.endpoint, "user", "grant-role", TIMELINE_USER.user, "root"));
  await ok(as(ROOT, dedicated.endpoint, "user", "revoke-role", OWN.user, "root"));
  oldFile = file("old", { host: "shard0" });
  newFile = file("new", { endpoints: [dedicated.endpoint], auth: TIMELINE_USER });
});

after(async () => {
  await store?.remove();
  await dedicated?.remove();
});

function file(name: string, timeline: object): string {
  const path = join(temporaryFolder(), `${name}.yaml`);
  writeFileSync(path, storeConfig(store.shards, 1, { auth: OWN, timeline }));
  return path;
}

/** Gives the proxies a file with this timeline host, and restarts them. */
async function restartWith(timeline: object): Promise<void> {
  for (const proxy of store.proxies) {
    writeFileSync(proxy.configFile, storeConfig(store.shards, proxy.port, { auth: OWN, timeline }));
    await proxy.restart();
  }
}

const key = Buffer.from("/k");

test("tokens from before a move stay valid, and users and roles can be changed after it", async () => {
  const clients = store.proxies.map(({ endpoint }) => new AuthClient(endpoint));
  const [one, two] = clients as [AuthClient, AuthClient];
  try {
    const token = await one.login("root", ROOT.split(":")[1]!);
    const put = async (client: AuthClient, value: string) => {
      const request = PutRequest.encode({ key, value: Buffer.from(value) });
      return PutResponse.decode(await client.call(KV.Put, request, token)).header!.revision;
    };
    const first = await put(one, "before");
    assert.equal(await put(two, "before"), first + 1);
    const shard1 = file("shard1", { host: "shard1" });
    await ok(braid("apply", "--config", shard1, "--current", oldFile, "--yes"));
    assert.ok((await put(one, "after")) > first + 1);
    assert.ok((await put(two, "after")) > first + 2);
    // The lock is on the next host now.
    await ok(as(ROOT, store.proxies[0]!.endpoint, "user", "add", "later:later-secret"));
    await ok(as(ROOT, store.proxies[1]!.endpoint, "role", "add", "reader"));
    await ok(as(ROOT, store.proxies[0]!.endpoint, "user", "grant-role", "later", "reader"));
    await ok(
      as(ROOT, store.proxies[1]!.endpoint, "role", "grant-permission", "reader", "read", "/", "--prefix"),
    );
    for (const { endpoint } of store.proxies) await ok(as("later:later-secret", endpoint, "get", "/k"));
    // The new file has a user for this host. The proxies that run do not know it.
    for (const current of [["--current", shard1], []]) {
      const refused = await braid("apply", "--config", newFile, ...current, "--yes");
      assert.equal(refused.code, 2, refused.stdout + refused.stderr);
      assert.match(refused.stdout, /cannot follow the timeline there .* user does not have the role root/);
    }
    await ok(as(ROOT, dedicated.endpoint, "user", "grant-role", OWN.user, "root"));
    await ok(braid("apply", "--config", newFile, "--current", shard1, "--yes"));
    assert.ok((await put(one, "after")) > first + 3, "the proxies have followed");
    await restartWith({ endpoints: [dedicated.endpoint], auth: TIMELINE_USER });
    await ok(as(ROOT, dedicated.endpoint, "user", "revoke-role", OWN.user, "root"));
    // A token of a proxy that runs no more: the key has moved with the log.
    const read = await two.call(KV.Range, RangeRequest.encode({ key }), token);
    assert.equal(Buffer.from(RangeResponse.decode(read).kvs[0]!.value).toString(), "after");
    await ok(as(ROOT, store.proxies[1]!.endpoint, "user", "add", "last:last-secret"));
    for (const { endpoint } of store.proxies)
      await ok(as("last:last-secret", endpoint, "endpoint", "health"));
  } finally {
    for (const client of clients) client.close();
  }
});

test("commands that lock the timeline host refuse the file from before a move", async () => {
  for (const [command, ...rest] of [
    ["auth", "repair", "--fix", "--source", "shard0"],
    ["adopt", "shard1"],
  ] as const) {
    const refused = await braid(command, ...rest, "--config", oldFile);
    assert.notEqual(refused.code, 0, refused.stdout);
    assert.match(refused.stderr, /the timeline has moved to shard "shard1"/);
    const done = await braid(command, ...rest, "--config", newFile);
    assert.equal(done.code, 0, done.stderr);
  }
});

test("a store whose timeline has moved is saved with the file that names the host and its user", async () => {
  const folder = join(temporaryFolder(), "snapshot");
  const saved = await braid("snapshot", "save", folder, "--config", newFile);
  assert.equal(saved.code, 0, saved.stdout + saved.stderr);
  assert.ok(existsSync(join(folder, "timeline-host.db")));
});
