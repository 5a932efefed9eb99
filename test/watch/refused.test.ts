import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { EtcdClient, EVERYTHING, openProxy } from "./support.js";

let shards: EtcdProcess[];
let proxy: Braid;

before(async () => {
  shards = await startEtcds(2);
  proxy = await openProxy(shards);
});

after(async () => {
  await proxy.stop();
  await Promise.all(shards.map((shard) => shard.remove()));
});

test("a start revision below 0 is refused, as by newer etcds", async () => {
  const refusals = [];
  for (const endpoint of [proxy.addresses[0], shards[0].endpoint]) {
    const from = new EtcdClient(endpoint);
    const stream = from.watch();
    for (const request of [{ startRevision: -1 }, { startRevision: -7, watchId: 5 }]) {
      const { header, ...refusal } = await stream.create({ ...EVERYTHING, ...request });
      assert.ok(header!.revision > 0);
      refusals.push(refusal);
    }
    stream.close();
    from.close();
  }
  const [first, second, ...byEtcd] = refusals;
  assert.equal(first!.watchId, -1);
  assert.ok(first!.created && first!.canceled);
  assert.equal(first!.cancelReason, "etcdserver: mvcc: required revision has been compacted");
  assert.equal(first!.compactRevision, 0);
  assert.deepEqual(second, first);
  if (byEtcd[0]!.canceled) assert.deepEqual(byEtcd, [first, second]);
});
