import assert from "node:assert/strict";
import { test } from "node:test";
import type { ShardClient } from "../../src/shard/client.js";
import { UnsentError } from "../../src/shard/errors.js";
import { openLateShard } from "../../src/shard/lateShard.js";
import type { Done, StreamEvents } from "../../src/shard/shard.js";
import { CallStats } from "../../src/stats/methods.js";
import { Code, StatusError, withDetail } from "../../src/status/error.js";

const PLACE = { name: "c", endpoints: ["c:1"] };
const EMPTY = new Uint8Array(0);
const READ = { idempotent: true };

/** A client that answers at once. */
function fakeClient() {
  const listeners: (() => void)[] = [];
  const client = {
    closed: 0,
    reloads: 0,
    stats: new CallStats(),
    unary: (_path: string, request: Uint8Array, _options: object, done: Done) => {
      done(undefined, request);
      return () => {};
    },
    call: async (_path: string, request: Uint8Array) => request,
    onDisconnect: (listener: () => void) => void listeners.push(listener),
    reloadCertificates: () => void client.reloads++,
    close: () => void client.closed++,
  };
  return { client, listeners, opened: client as unknown as ShardClient };
}

test("a shard that can be opened is its client itself", () => {
  const { opened } = fakeClient();
  assert.equal(
    openLateShard(2, PLACE, () => opened),
    opened,
  );
});

test("while it cannot be opened, calls and streams fail with its name", async () => {
  let tries = 0;
  const shard = openLateShard(2, PLACE, () => {
    tries++;
    throw new Error('shard "c": /ca.crt: no such file');
  });
  const failure = (error: unknown) => {
    assert.ok(error instanceof StatusError);
    assert.deepEqual([error.code, error.message], [Code.UNAVAILABLE, 'shard "c": cannot be opened']);
    return true;
  };
  await assert.rejects(shard.call("/x", EMPTY, READ), (error) => {
    assert.match(withDetail(error), /cannot be opened \(\/ca.crt: no such file\)$/);
    return failure(error) && !(error instanceof UnsentError);
  });
  await assert.rejects(
    shard.call("/x", EMPTY, { idempotent: false }),
    (error) => failure(error) && error instanceof UnsentError,
  );
  const ended = await new Promise((resolve) => {
    const cancel = shard.unary("/x", EMPTY, READ, () => assert.fail("it was cancelled"));
    cancel();
    shard.stream("/x", { message() {}, closed: resolve } as StreamEvents);
  });
  failure(ended);
  assert.equal(tries, 1, "not tried again at once");
  assert.deepEqual([shard.endpoints(), shard.isConnected, shard.openStreams], [[], false, 0]);
  shard.close();
  shard.reloadCertificates();
  await assert.rejects(shard.call("/x", EMPTY, READ), /shard "c": closed/);
  assert.equal(tries, 1, "not tried after it was closed");
});

test("once it can be opened, it is like its client", async () => {
  const { client, listeners, opened } = fakeClient();
  let missing = true;
  const shard = openLateShard(2, PLACE, () => {
    if (missing) throw new Error("not yet");
    return opened;
  });
  const early = () => {};
  const late = () => {};
  shard.onDisconnect(early);
  missing = false;
  shard.reloadCertificates();
  assert.deepEqual(await shard.call("/x", Uint8Array.of(7), READ), Uint8Array.of(7));
  shard.onDisconnect(late);
  assert.deepEqual(listeners, [early, late]);
  shard.reloadCertificates();
  shard.close();
  assert.deepEqual([client.reloads, client.closed], [1, 1]);
  assert.equal(shard.stats, client.stats);
});

test("a shard without endpoints cannot be opened", async () => {
  const shard = openLateShard(2, { name: "c", endpoints: [] }, () => assert.fail("it was opened"));
  await assert.rejects(shard.call("/x", EMPTY, READ), (error) => {
    return /cannot be opened \(its endpoints are not known\)/.test(withDetail(error));
  });
});
