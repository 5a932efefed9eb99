import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { Watch } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { openWatchService, TestStream, type TestWatchService } from "./service.js";
import { EtcdClient, EVERYTHING, openProxy } from "./support.js";

let shards: EtcdProcess[];
let proxy: Braid;
let direct: TestWatchService;

before(async () => {
  shards = await startEtcds(2);
  proxy = await openProxy(shards);
  direct = await openWatchService(shards, {
    historyBytes: 1 << 20,
    streamBufferBytes: 1 << 20,
    progressNotifyMs: 600_000,
  });
});

after(async () => {
  direct?.close();
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

test("a watch above the limit of its connection is held for a second, if its client cannot send more", async () => {
  const open = (watchBytes: number) => {
    const usage = { watchBytes, requestBytes: 0 };
    const stream = Object.assign(new TestStream(Watch.Watch, 1 << 20), { usage });
    direct.service.stream.get(Watch.Watch)!(stream);
    return stream;
  };
  const { refused } = direct.service.hub.stats;
  for (const startRevision of [0, 1]) {
    const began = performance.now();
    // Those that are half-closed are as over JSON.
    const [json, full, other] = [open(128 << 20), open(128 << 20), open(0)];
    const answered: TestStream[] = [];
    const answers = [json, full, other].map(async (stream) => {
      stream.create({ ...EVERYTHING, startRevision });
      if (stream !== full) stream.halfClose();
      await stream.until(() => stream.frames.length > 0);
      answered.push(stream);
    });
    await Promise.all(answers);
    const held = performance.now() - began;
    assert.ok(held >= 999, `refused after ${held} ms: a client that retries at once would be in a hot loop`);
    assert.equal(answered.at(-1), json, "nothing else has to wait");
    for (const stream of [json, full]) {
      assert.equal(stream.frames[0]!.cancelReason, "etcd-braid: too many watches");
    }
    assert.equal(other.frames[0]!.canceled, false);
    for (const stream of [json, full, other]) stream.cancel();
  }
  assert.equal(direct.service.hub.stats.refused, refused + 4);
});
