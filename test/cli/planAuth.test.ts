import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { addRoots, as, CHEAP, OWN, ok, ROOT, startGuardedEtcds } from "../auth/support.js";
import { configured, type File, over, withEtcds } from "../store/configured.js";
import { braid } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { plan, planned, serving } from "./planSupport.js";

const FITTING = { flags: [...CHEAP.flags, ...SHARD_FLAGS] };

/** A store over a and b with authentication on, the user app, and the role reader. */
let etcds: EtcdProcess[];
const file = (names: string, list: readonly EtcdProcess[], auth: object = OWN): File =>
  Object.assign(over(names, list), { auth });

before(async () => {
  etcds = await startGuardedEtcds(2);
  const proxy = await serving(file("ab", etcds));
  await ok(as(ROOT, proxy.endpoint, "role", "add", "reader"));
  await ok(as(ROOT, proxy.endpoint, "user", "add", "app:secret"));
  await ok(as(ROOT, proxy.endpoint, "user", "grant-role", "app", "reader"));
  for (let i = 0; i < 20; i++) await ok(as(ROOT, proxy.endpoint, "put", `/k${i}/x`, "x"));
  await proxy.kill();
});

after(() => Promise.all((etcds ?? []).map((etcd) => etcd.remove())));

async function withOne(
  etcd: Promise<EtcdProcess>,
  body: (etcd: EtcdProcess) => Promise<void>,
): Promise<void> {
  const started = await etcd;
  try {
    await body(started);
  } finally {
    await started.remove();
  }
}

test("with authentication on, the file of the store has nothing to do", async () => {
  assert.equal((await plan(file("ab", etcds))).code, 0);
  const { code, stderr } = await plan(file("ab", etcds, { user: OWN.user, password: "wrong" }));
  assert.equal(code, 1);
  assert.match(stderr, /refuses the proxy's own user "braid"/);
  const status = await braid("status", "--groups", "--config", (await configured(file("ab", etcds))).path);
  assert.equal(status.code, 0, status.stdout + status.stderr);
});

test("a new shard without the store's users is a problem, and braid auth repair solves it", async () => {
  await withOne(startEtcd(FITTING), async (added) => {
    const larger = file("abc", [...etcds, added]);
    const off = (await planned(2, larger)).problems.join("\n");
    assert.match(off, /shards\.yaml:\d+: shard "c" .*: authentication is off, but shard "a" has it on/);
    assert.match(off, /shard "c" .*: its users and roles differ from those of shard "a"\. .*add role reader/);
    await addRoots(added.endpoint);
    await ok(etcdctl(added.endpoint, "auth", "enable"));
    const on = (await planned(2, larger)).problems;
    assert.equal(on.length, 1);
    const steps = "add role reader, add user app, with a random password, grant role reader to user app";
    assert.ok(on[0].includes(`To make them equal: ${steps}. \`braid auth repair --fix --source a\``), on[0]);
    const { path } = await configured(larger);
    await ok(braid("auth", "repair", "--fix", "--source", "a", "--config", path));
    const report = await planned(3, larger);
    assert.deepEqual(report.problems, []);
    assert.equal(report.keys!.total, 20);
  });
});

test("a new shard that refuses the proxy's user is a problem", async () => {
  await withOne(startEtcd(FITTING), async (added) => {
    await ok(etcdctl(added.endpoint, "user", "add", ROOT));
    await ok(etcdctl(added.endpoint, "user", "grant-role", "root", "root"));
    await ok(etcdctl(added.endpoint, "auth", "enable"));
    const { problems } = await planned(2, file("abc", [...etcds, added]));
    assert.match(problems.join(), /shards\.yaml:\d+: shard "c" .*refuses the proxy's own user "braid"/);
    await withEtcds(2, async (open) => {
      const store = over("xy", open);
      await (await serving(store)).kill();
      const guarded = await planned(2, over("xyz", [...open, added]));
      assert.match(
        guarded.problems.join(),
        /shard "z" .*: authentication is on, but the proxy has no user \(auth\)/,
      );
    });
  });
});
