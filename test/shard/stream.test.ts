import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Code, withDetail } from "../../src/status/error.js";
import { WatchResponse } from "../../src/wire/messages.js";
import { Watch } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";
import { get, put, recorder, shardOf, startRelay, watchRequest } from "./support.js";

describe("streams", () => {
  let etcd: EtcdProcess;
  before(async () => {
    etcd = await startEtcd();
  });
  after(() => etcd.remove());

  const decoded = (messages: readonly Uint8Array[]) =>
    messages.map((message) => WatchResponse.decode(message));

  test("messages go both ways in order", async () => {
    const shard = shardOf([etcd.endpoint]);
    const seen = recorder();
    const stream = shard.stream(Watch.Watch, seen);
    for (let i = 0; i < 20; i++) stream.send(watchRequest(`watched/${i}`));
    await until(() => seen.messages.length === 20);
    assert.deepEqual(
      decoded(seen.messages).map(({ created, watchId }) => [created, watchId]),
      Array.from({ length: 20 }, (_, i) => [true, i]),
    );
    for (let i = 0; i < 20; i++) await put(shard, `watched/${i}`, "v");
    await until(() => seen.messages.length === 40);
    assert.deepEqual(
      decoded(seen.messages.slice(20)).map(({ watchId }) => watchId),
      Array.from({ length: 20 }, (_, i) => i),
    );
    stream.cancel();
    shard.close();
    assert.equal(seen.closes.length, 0);
  });

  test("a paused stream delivers nothing, and all messages once resumed", async () => {
    const shard = shardOf([etcd.endpoint]);
    const seen = recorder();
    const stream = shard.stream(Watch.Watch, seen);
    stream.send(watchRequest("paused"));
    await until(() => seen.messages.length === 1);
    stream.pause();
    // One message was already requested before the pause.
    for (let i = 0; i < 10; i++) await put(shard, "paused", "x".repeat(100_000));
    assert.ok(seen.messages.length <= 2, `${seen.messages.length} messages while paused`);
    stream.resume();
    const events = () => decoded(seen.messages).reduce((count, message) => count + message.events.length, 0);
    await until(() => events() === 10);
    stream.cancel();
    shard.close();
  });

  test("a lost stream is reported once, with its endpoint; a new one works when the etcd is back", async () => {
    const shard = shardOf([etcd.endpoint]);
    const seen = recorder();
    shard.stream(Watch.Watch, seen).send(watchRequest("k"));
    await until(() => seen.messages.length === 1);
    await etcd.kill();
    await until(() => seen.closes.length === 1);
    assert.equal(seen.closes[0]?.code, Code.UNAVAILABLE);
    assert.match(
      withDetail(seen.closes[0]),
      new RegExp(`^shard "a": connection lost \\(${etcd.endpoint}: .`),
    );
    const next = recorder();
    shard.stream(Watch.Watch, next).send(watchRequest("k"));
    await etcd.restart();
    await until(() => next.messages.length === 1);
    await get(shard, "k");
    shard.close();
    assert.equal(seen.closes.length, 1);
    assert.deepEqual(next.closes.map(String), ['StatusError: shard "a": closed']);
  });

  test("a stream that finds no endpoint is closed with the reason", async () => {
    const shard = shardOf(["127.0.0.1:1"], { connectTimeoutMs: 300 });
    const seen = recorder();
    shard.stream(Watch.Watch, seen);
    assert.equal(seen.closes.length, 0, "not before the caller has the stream");
    await until(() => seen.closes.length === 1);
    assert.equal(
      withDetail(seen.closes[0]),
      'shard "a": no endpoint reachable (127.0.0.1:1: connection refused)',
    );
    shard.close();
  });

  test("a cancelled stream ends at once, in any state", async () => {
    const relay = await startRelay(etcd.endpoint);
    const shard = shardOf([relay.endpoint]);
    const early = recorder();
    shard.stream(Watch.Watch, early).cancel();
    const open = recorder();
    const stream = shard.stream(Watch.Watch, open);
    stream.send(watchRequest("k"));
    await until(() => open.messages.length === 1);
    stream.cancel();
    await put(shard, "k", "v");
    relay.cut();
    await get(shard, "k");
    assert.deepEqual([early.closes, early.messages, open.closes], [[], [], []]);
    assert.equal(open.messages.length, 1);
    shard.close();
    await relay.close();
  });

  test("an etcd that stops answering loses its streams within the ping timeout", async () => {
    const shard = shardOf([etcd.endpoint]);
    const seen = recorder();
    shard.stream(Watch.Watch, seen).send(watchRequest("k"));
    await until(() => seen.messages.length === 1);
    await etcd.kill("SIGSTOP");
    await until(() => seen.closes.length === 1);
    assert.equal(seen.closes[0]?.code, Code.UNAVAILABLE);
    await etcd.kill("SIGCONT");
    shard.close();
  });
});
