import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { call } from "../../bench/call.js";
import { EventReader } from "../../bench/load/events.js";
import { grpcMessage, runUnary } from "../../bench/load/unary.js";
import { activity, processorTime } from "../../bench/processes.js";
import { median, quantile } from "../../bench/statistics.js";
import { PutRequest, RangeRequest, RangeResponse, WatchResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { temporaryFolder } from "../support/braid.js";
import { startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";

test("medians and quantiles", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  const hundred = Array.from({ length: 100 }, (_, i) => i);
  assert.equal(quantile(hundred, 0.5), 50);
  assert.equal(quantile(hundred, 0.99), 99);
});

test("events are read from a watch stream, however it is cut into pieces", () => {
  const event = (n: number) => {
    const value = Buffer.alloc(40);
    value.writeDoubleLE(n);
    return {
      type: 0 as const,
      kv: { key: Buffer.from("key"), modRevision: 2 ** 40, version: 300, value, lease: -1n },
      prevKv: { key: Buffer.from("key"), value: Buffer.alloc(20) },
    };
  };
  const header = { clusterId: 2n ** 64n - 1n, memberId: 1n, revision: 7, raftTerm: 2 };
  const stream = Buffer.concat(
    [
      WatchResponse.encode({ header, watchId: 3, created: true }),
      WatchResponse.encode({ header, watchId: 3, events: [event(1.5)] }),
      WatchResponse.encode({ header, watchId: 4, events: [event(2.5), event(3.5)] }),
      WatchResponse.encode({ header, watchId: 4, canceled: true }),
    ].map(grpcMessage),
  );
  for (const size of [1, 2, 3, 5, 7, 64, stream.length]) {
    const seen: unknown[] = [];
    const reader = new EventReader({
      created: () => seen.push("created"),
      event: (sentAt) => seen.push(sentAt),
      failed: (reason) => seen.push(reason),
    });
    for (let at = 0; at < stream.length; at += size) reader.take(stream.subarray(at, at + size));
    assert.deepEqual(seen, ["created", 1.5, 2.5, 3.5, "a watcher was cancelled"], `pieces of ${size} bytes`);
  }
});

test("a process's CPU time is what it has used", () => {
  const [before, usage] = [processorTime(process.pid), process.cpuUsage()];
  while (process.cpuUsage(usage).user < 200_000); // 0.2 s of work
  const { user, system } = process.cpuUsage(usage);
  const measured = processorTime(process.pid) - before;
  assert.ok(
    Math.abs(measured - user - system) < 40_000,
    `${measured} µs, the process itself says ${user + system}`,
  );
});

test("a process's activity is how often it read, wrote and waited", async () => {
  const file = join(temporaryFolder(), "file");
  const before = activity(process.pid);
  for (let i = 0; i < 50; i++) writeFileSync(file, "x");
  // Nothing to do for a while is what a wait is.
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setTimeout(resolve, 2));
  const after = activity(process.pid);
  assert.ok(after.writes - before.writes >= 50, `${after.writes - before.writes} writes`);
  assert.ok(after.reads > before.reads);
  assert.ok(after.waits - before.waits >= 10, `${after.waits - before.waits} waits`);
  const usage = process.cpuUsage();
  const ticks = activity(process.pid);
  assert.ok(
    Math.abs(ticks.userTicks * 10_000 - usage.user) < 0.2 * usage.user + 50_000,
    JSON.stringify([ticks, usage]),
  );
});

test("refused requests count as errors, not as operations", async () => {
  const etcd = await startEtcd();
  const target = { port: etcd.port, pids: { etcd: etcd.pid }, milliseconds: 50, connections: 2, inFlight: 3 };
  const put = { kind: "unary", path: KV.Put, leastBytes: 8, ...target } as const;
  const base64 = (key: string) =>
    Buffer.from(PutRequest.encode({ key: Buffer.from(key) })).toString("base64");
  const good = await runUnary({ ...put, requests: [base64("key")] });
  assert.ok(good.operations >= 6 && good.errors === 0, JSON.stringify(good));
  const refused = await runUnary({ ...put, requests: [base64("")] });
  assert.ok(refused.operations === 0 && refused.errors >= 6, JSON.stringify(refused));
  const mixed = await runUnary({ ...put, requests: [base64("key"), base64("")] });
  assert.ok(mixed.operations > 0 && mixed.errors > 0, JSON.stringify(mixed));
  await etcd.remove();
});

test("a target that goes away ends the measurement with an error", async () => {
  const etcd = await startEtcd();
  const anyKey = RangeRequest.encode({ key: Buffer.from("key") });
  const requests = [Buffer.from(PutRequest.encode({ key: Buffer.from("key") })).toString("base64")];
  const target = { port: etcd.port, pids: {}, milliseconds: 60_000, connections: 1, inFlight: 4 };
  const running = runUnary({ kind: "unary", path: KV.Put, leastBytes: 8, requests, ...target });
  const failed = assert.rejects(running, /ECONNRESET|closed the connection/);
  const revision = async () => RangeResponse.decode(await call(etcd.port, KV.Range, anyKey)).header!.revision;
  await until("requests are under way", async () => (await revision()) > 1);
  await etcd.remove();
  await failed;
});
