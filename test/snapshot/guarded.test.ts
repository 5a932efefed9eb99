import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { as, OWN, ok, ROOT, startGuardedStore } from "../auth/support.js";
import { braid, temporaryFolder } from "../support/braid.js";
import { etcdctl } from "../support/etcdctl.js";
import { startProxyProcess } from "../support/store.js";
import { startRestored, toolOption } from "./support.js";

test("a store with authentication on is saved by the proxy's user and restored with its users", async () => {
  const folder = temporaryFolder();
  const store = await startGuardedStore({ shards: 2 });
  after(() => store.remove());
  const root = (...args: string[]) => ok(as(ROOT, store.endpoint, ...args));
  await root("put", "/a/key", "1");
  await root("put", "/b/key", "1");
  await root("user", "add", "reader:secret");
  await root("role", "add", "readers");
  await root("role", "grant-permission", "readers", "read", "--prefix", "/a/");
  await root("user", "grant-role", "reader", "readers");
  const before = await root("get", "--prefix", "/", "-w", "fields");

  const saved = join(folder, "saved");
  const save = await braid("snapshot", "save", saved, "--config", store.proxies[0]!.configFile);
  assert.equal(save.code, 0, save.stderr);
  const out = join(folder, "restored");
  const restore = await braid(
    "snapshot",
    "restore",
    saved,
    "-d",
    out,
    "--bump-revision",
    "0",
    ...toolOption(),
  );
  assert.equal(restore.code, 0, restore.stderr);
  const etcds = await startRestored(out, ["shard0", "shard1"]);
  after(() => Promise.all(etcds.map((etcd) => etcd.remove())));
  const proxy = await startProxyProcess(etcds, { auth: OWN });
  after(() => proxy.kill());

  const masked = (text: string) => text.replace(/"(ClusterID|MemberID|RaftTerm)" : \d+/g, "");
  const restored = await ok(as(ROOT, proxy.endpoint, "get", "--prefix", "/", "-w", "fields"));
  assert.equal(masked(restored), masked(before));
  assert.equal(await ok(as("reader:secret", proxy.endpoint, "get", "/a/key")), "/a/key\n1\n");
  const denied = await as("reader:secret", proxy.endpoint, "get", "/b/key");
  assert.match(denied.stderr, /etcdserver: permission denied/);
  const anonymous = await etcdctl(proxy.endpoint, "get", "/a/key");
  assert.match(anonymous.stderr, /etcdserver: user name is empty/);
});
