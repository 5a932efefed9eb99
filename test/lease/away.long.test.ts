import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { until } from "../support/until.js";
import { type Client, type TestProxy, TestStore } from "./support.js";

/** A client that gets no answer for longer than this gives up, ms. */
const PATIENCE_MS = 2_500;

/* A shard that is down, or whose process is frozen, affects only the leases that need it. */
describe("leases while a shard is away", () => {
  let store: TestStore;
  let proxy: TestProxy;
  let client: Client;

  before(async () => {
    store = await TestStore.start();
    proxy = await store.proxy();
    client = proxy.client;
  });
  after(() => store.remove());

  for (const [how, stop, start] of [
    ["is down", "SIGKILL", undefined],
    ["is frozen", "SIGSTOP", "SIGCONT"],
  ] as const) {
    test(`leases are granted on the other shards while one ${how}`, async () => {
      const etcd = store.etcds[1]!;
      await etcd.kill(stop);
      const homes = new Set<number>();
      for (let n = 0; n < 60; n++) {
        const { id } = await client.grant(60);
        homes.add(store.router.homeOf(id));
        const [key] = store.keys();
        await client.put(key!, id);
        assert.equal((await client.renew(id)).ttl, 60);
      }
      assert.deepEqual([...homes].sort(), [0, 2]);
      // An id of the client has its home there, and nowhere else.
      const error = await client.grant(60, store.idAt(1)).catch((reason) => reason);
      assert.ok(error instanceof StatusError && error.message.includes('shard "b"'), String(error));
      if (start === undefined) await etcd.restart();
      else await etcd.kill(start);
      await until("the shard responds", () =>
        client.leases().then(
          () => true,
          () => false,
        ),
      );
    });
  }

  test("a keep-alive that needs a shard that is down fails before its client gives up, and no other does", async () => {
    const [needed, free] = [store.idAt(1), store.idAt(0)];
    await client.grant(60, needed);
    await client.grant(60, free);
    await client.put(store.keys()[2]!, free);
    await store.etcds[1]!.kill();
    const stream = client.keepAlive();
    stream.send(free);
    await until("the other lease is renewed", () => stream.answers.length === 1);
    // It fails while nothing else is sent, and the stream still serves the other lease.
    stream.send(needed);
    const since = performance.now();
    const error = await client.renew(needed).catch((reason) => reason);
    assert.ok(performance.now() - since < 2 * PATIENCE_MS, "it failed in time");
    assert.ok(error instanceof StatusError && error.code === Code.UNAVAILABLE, String(error));
    assert.match(error.message, /^shard "b": no answer to a lease keep-alive/);
    const missed = () => proxy.leases.counts().missedRenewals;
    await until("both keep-alives have failed", () => missed() === 2);
    stream.send(free);
    await until("the other lease is renewed again", () => stream.settled(2));
    assert.equal(stream.error, undefined);
    assert.deepEqual(
      stream.answers.map(({ id, ttl }) => [id, ttl]),
      [
        [free, 60],
        [free, 60],
      ],
    );
    // Without the other lease, the client has nothing else to wait for.
    await client.revoke(free);
    stream.send(free);
    await until("the stream ends", () => stream.error !== undefined);
    assert.match(String(stream.error), /shard "b"/);
    await store.etcds[1]!.restart();
  });
});
