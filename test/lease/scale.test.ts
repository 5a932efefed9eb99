import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Client, type TestProxy, TestStore, within } from "./support.js";

describe("many leases", () => {
  const COUNT = 10_000;
  let store: TestStore;
  let proxy: TestProxy;
  let client: Client;

  before(async () => {
    store = await TestStore.start();
    proxy = await store.proxy();
    client = proxy.client;
  });
  after(() => store.remove());

  /** A counter of an etcd, by gRPC method. */
  async function started(shard: number, method: string): Promise<number> {
    const text = await (await fetch(`${store.etcds[shard].url}/metrics`)).text();
    const line = text
      .split("\n")
      .find((l) => l.startsWith("grpc_server_started_total") && l.includes(method));
    return Number(line?.split(" ").at(-1) ?? 0);
  }

  async function inParallel<T>(items: readonly T[], width: number, work: (item: T) => Promise<unknown>) {
    const queue = items.values();
    const worker = async () => {
      for (const item of queue) await work(item);
    };
    await Promise.all(Array.from({ length: width }, worker));
  }

  test("10,000 leases are kept alive over one client stream and one stream to each shard", async () => {
    const ids = Array.from({ length: COUNT }, (_, i) => BigInt(1_000_000 + i));
    await inParallel(ids, 64, (id) => client.grant(300, id));
    const stream = client.keepAlive();
    for (let round = 1; round <= 2; round++) {
      for (const id of ids) stream.send(id);
      await within(60_000, "all are renewed", () => stream.settled(round * COUNT));
      assert.equal(stream.error, undefined);
    }
    assert.ok(stream.answers.every(({ ttl }) => ttl === 300));
    assert.deepEqual(new Set(stream.answers.map(({ id }) => id)), new Set(ids));
    stream.cancel();
    for (const shard of [0, 1, 2]) assert.equal(await started(shard, "LeaseKeepAlive"), 1);
    assert.equal((await client.leases()).leases.length, COUNT);
  });

  test("a thousand placed leases cost each shard a few calls a second, and end together", async () => {
    const ids = Array.from({ length: 1_000 }, () => store.idAt(0));
    await inParallel(ids, 64, (id) => client.grant(300, id));
    await inParallel(ids, 64, (id) => client.put(`b/placed/${id}`, id));
    assert.equal(proxy.timeline.placements.size, ids.length);

    const calls = async () => (await started(1, '"LeaseTimeToLive"')) + (await started(1, '"LeaseLeases"'));
    const [before, begin] = [await calls(), Date.now()];
    await within(10_000, "a few sweeps", () => Date.now() - begin > 4_000);
    const rate = ((await calls()) - before) / 4;
    assert.ok(rate < 50, `${rate} calls a second`);

    await inParallel(ids, 64, (id) => store.backends[0].revoke(id));
    await within(10_000, "no placement is left", () => proxy.timeline.placements.size === 0);
    for (const id of ids) assert.ok(!(await store.backends[1].has(`b/placed/${id}`)));
  });
});
