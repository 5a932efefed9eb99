import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { Code, StatusError } from "../../src/status/error.js";
import { LeaseKeepAliveRequest } from "../../src/wire/messages.js";
import { Lease } from "../../src/wire/paths.js";
import { until } from "../support/until.js";
import { type Client, type TestProxy, TestStore, within } from "./support.js";

describe("leases and outages", () => {
  let store: TestStore;
  let proxy: TestProxy;
  let client: Client;

  before(async () => {
    store = await TestStore.start();
    proxy = await store.proxy();
    client = proxy.client;
  });
  after(() => store.remove());

  const namesShard = (name: string) => (error: unknown) =>
    error instanceof StatusError && error.code === Code.UNAVAILABLE && error.message.includes(`"${name}"`);

  test("a shard that is down does not stop the leases that do not need it", async () => {
    const here = store.idAt(0);
    await client.grant(3, here);
    const [onA, onB] = store.keys();
    await client.put(onA, here);
    await client.put(onB, here);
    const needsC = store.idAt(0);
    await client.grant(60, needsC);
    await client.put(store.keys()[2], needsC);
    const homeC = store.idAt(2);
    await client.grant(60, homeC);

    await store.etcds[2].kill();
    // One stream for all of them, as in clientv3. The others are sent first.
    const stream = client.keepAlive();
    for (let i = 0; i < 14; i++) {
      stream.send(needsC);
      stream.send(homeC);
      stream.send(here);
      await within(1_000, "the lease on the other shards is renewed", () => stream.settled(i + 1));
      assert.equal(stream.error, undefined);
      await pause(500);
    }
    stream.cancel();
    assert.ok(stream.answers.every(({ id, ttl }) => id === here && ttl === 3));
    assert.ok(await client.has(onB));
    assert.ok(proxy.leases.counts().missedRenewals > 0);

    await store.etcds[2].restart();
    await within(20_000, "the others are renewed again", async () => (await client.renew(needsC)).ttl === 60);
    assert.equal((await client.renew(homeC)).ttl, 60);
  });

  test("a keep-alive that needs a shard that is down ends a half-closed stream with the shard's name", async () => {
    const { id } = await store.everywhere(client, 60);
    await store.etcds[1].kill();
    const raw = new GrpcClient(proxy.address, credentials.createInsecure());
    const identity = (bytes: Buffer) => bytes;
    const error = await new Promise<{ code: number; details: string }>((resolve) => {
      const stream = raw.makeBidiStreamRequest(Lease.LeaseKeepAlive, identity, identity);
      stream.on("data", () => assert.fail("an answer"));
      stream.on("error", (reason) => resolve(reason as unknown as { code: number; details: string }));
      stream.write(Buffer.from(LeaseKeepAliveRequest.encode({ id })));
      stream.end();
    });
    raw.close();
    assert.equal(error.code, Code.UNAVAILABLE);
    assert.match(error.details, /^shard "b": /);
    await store.etcds[1].restart();
    await within(20_000, "the shard answers", () =>
      client.revoke(id).then(
        () => true,
        () => false,
      ),
    );
  });

  test("a stream whose only keep-alive needs a shard that is down ends, too", async () => {
    const { id } = await store.everywhere(client, 60);
    await store.etcds[1].kill();
    await assert.rejects(client.renew(id), /shard "b": no answer to a lease keep-alive/);
    await store.etcds[1].restart();
    await within(20_000, "the lease is renewed", () =>
      client.renew(id).then(
        ({ ttl }) => ttl === 60,
        () => false,
      ),
    );
    await client.revoke(id);
  });

  test("a put under a lease on a shard that is down leaves no placement behind", async () => {
    const id = store.idAt(0);
    await client.grant(60, id);
    await store.etcds[1].kill();
    await assert.rejects(client.put(store.keys()[1], id), namesShard("b"));
    assert.equal(proxy.timeline.placements.has(id), false);
    assert.equal((await client.renew(id)).ttl, 60);
    await store.etcds[1].restart();
    const put = () =>
      client.put(store.keys()[1], id).then(
        () => true,
        () => false,
      );
    await within(20_000, "the put succeeds", put);
    await client.revoke(id);
  });

  test("a revocation that cannot reach a part names it, and completes when it can", async () => {
    const { id, keys } = await store.everywhere(client, 60);
    await store.etcds[2].kill();
    await assert.rejects(client.revoke(id), namesShard("c"));
    assert.equal((await client.renew(id)).ttl, 0);
    assert.equal((await client.timeToLive(id)).ttl, -1);
    await assert.rejects(
      client.put(keys[1], id),
      new StatusError(5, "etcdserver: requested lease not found"),
    );
    await store.etcds[2].restart();
    await within(20_000, "all keys are gone", store.gone(keys));
    await within(20_000, "the placements are gone", () => !proxy.timeline.placements.has(id));
  });

  test("the list of leases names a shard that is down instead of leaving its leases out", async () => {
    await store.etcds[1].kill();
    await assert.rejects(client.leases(), namesShard("b"));
    await store.etcds[1].restart();
    await within(20_000, "the list is back", () =>
      client.leases().then(
        () => true,
        () => false,
      ),
    );
  });

  test("a part whose TTL restarted with an election does not outlive the lease", async () => {
    const { keys } = await store.everywhere(client, 5);
    await pause(2_500);
    await store.etcds[2].restart(); // its leases start over with a TTL of five seconds
    await within(10_000, "the first key expires", async () => (await store.present(keys)).length < 3);
    await within(2_000, "all keys are gone", store.gone(keys));
  });

  test("keep-alives in flight survive the loss of the stream to the shard", async () => {
    const ids = Array.from({ length: 20 }, () => store.idAt(1));
    for (const id of ids) await client.grant(60, id);
    await client.renew(ids[0]); // the stream is open
    await store.etcds[1].kill("SIGSTOP");
    const { renewals } = proxy.leases.counts();
    const stream = client.keepAlive();
    for (const id of ids) stream.send(id);
    // An open stream sends a renewal without delay.
    await until("the proxy has sent them on", () => proxy.leases.counts().renewals === renewals + ids.length);
    assert.equal(proxy.shards[1].openStreams, 1, "they are on the stream of before");
    assert.deepEqual(stream.answers, []);
    await store.etcds[1].kill("SIGKILL");
    await until("the stream is lost", () => proxy.shards[1].openStreams === 0);
    assert.deepEqual(stream.answers, [], "none was answered on the stream that is lost");
    await store.etcds[1].restart();
    await within(10_000, "all answers", () => stream.settled(ids.length));
    assert.equal(stream.error, undefined);
    assert.deepEqual(
      stream.answers.map(({ id, ttl }) => [id, ttl]),
      ids.map((id) => [id, 60]),
    );
    stream.cancel();
  });
});
