import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { startCluster, startEtcd } from "./etcd.js";
import { etcdctl } from "./etcdctl.js";

test("an etcd answers once it is started and keeps its data over kill and restart", async () => {
  const etcd = await startEtcd();
  assert.equal((await etcdctl(etcd.endpoint, "put", "k", "v")).stdout, "OK\n");
  await etcd.kill();
  assert.equal(etcd.isRunning, false);
  await etcd.restart();
  assert.equal((await etcdctl(etcd.endpoint, "get", "k")).stdout, "k\nv\n");
  await etcd.remove();
  assert.equal(existsSync(etcd.dir), false);
});

test("many etcds started at once get ports of their own", async () => {
  const etcds = await Promise.all([1, 2, 3, 4].map(() => startEtcd()));
  assert.equal(new Set(etcds.map((etcd) => etcd.port)).size, 4);
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

test("a port that is taken is reported with etcd's log", async () => {
  const first = await startEtcd();
  await assert.rejects(startEtcd({ port: first.port }), /address already in use/);
  await first.remove();
});

test("a cluster elects another leader when its leader is killed", async () => {
  const cluster = await startCluster(3);
  const first = await cluster.leader();
  await first.kill();
  const second = await cluster.leader();
  assert.notEqual(second.endpoint, first.endpoint);
  await cluster.remove();
});
