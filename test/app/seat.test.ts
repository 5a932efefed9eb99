import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Seat } from "../../src/app/reshard/seat.js";
import {
  CONTROL_KEY,
  encodeControl,
  encodeProgress,
  PROGRESS_KEY,
  type ProgressRecord,
  SEAT_KEY,
} from "../../src/reshard/record.js";
import type { ShardClient } from "../../src/shard/client.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import {
  DeleteRangeRequest,
  type KeyValue,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { shardOf } from "../shard/support.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";

let etcd: EtcdProcess;
let host: ShardClient;

before(async () => {
  etcd = await startEtcd();
  host = shardOf([etcd.endpoint]);
});
after(async () => {
  host.close();
  await etcd.remove();
});
beforeEach(() =>
  call(KV.DeleteRange, DeleteRangeRequest.encode({ key: Buffer.of(0), rangeEnd: Buffer.of(0) })),
);

const call = (path: string, request: Uint8Array) => host.call(path, request, { idempotent: true });
const take = (proxy: string) => Seat.take({ host, proxy, runtime: systemRuntime });
const put = (key: Uint8Array, value: Uint8Array) => call(KV.Put, PutRequest.encode({ key, value }));

async function read(key: Uint8Array): Promise<KeyValue | undefined> {
  return RangeResponse.decode(await call(KV.Range, RangeRequest.encode({ key }))).kvs[0];
}

const text = (value: Uint8Array | undefined): string => Buffer.from(value!).toString();
const textOf = async (key: Uint8Array): Promise<string> => text((await read(key))?.value);

const CONTROL = encodeControl({ plan: 1, paused: true, maxKeysPerSecond: null, keys: null, bytes: null });
const progress = (keys: number): ProgressRecord => ({
  plan: 1,
  proxy: "p",
  at: 1,
  phase: "copy",
  step: null,
  stepKeys: 0,
  keys,
  bytes: 0,
  steps: 0,
  keysPerSecond: 0,
  lastPauseMs: 0,
  longestPauseMs: 0,
  waiting: null,
});

test("one of many gets the seat, and the next one when it is left", async () => {
  const taken = (await Promise.all(["a", "b", "c", "d"].map(take))).flatMap((each) => each ?? []);
  assert.equal(taken.length, 1);
  assert.equal(await take("e"), undefined);
  const [{ seat }] = taken as [(typeof taken)[0]];
  let losses = 0;
  seat.onLost = () => losses++;
  await seat.leave();
  assert.equal(await read(SEAT_KEY), undefined, "the key has gone with its lease");
  const next = await take("e");
  assert.match(await textOf(SEAT_KEY), /"proxy":"e"/);
  await next!.seat.leave();
  assert.equal(losses, 0);
});

test("who takes the seat gets the records, and exchanges them while it has the seat", async () => {
  await put(CONTROL_KEY, CONTROL);
  const { seat, records } = (await take("a"))!;
  assert.deepEqual([text(records.control), records.progress], [text(CONTROL), undefined]);
  const record = encodeProgress(progress(1));
  assert.equal(text((await seat.exchange(record)).control), text(CONTROL));
  assert.equal(await textOf(PROGRESS_KEY), text(record));
  const { modRevision } = (await read(PROGRESS_KEY))!;
  await seat.exchange(undefined);
  assert.equal((await read(PROGRESS_KEY))!.modRevision, modRevision, "nothing is written");
  await seat.leave();
  const again = (await take("b"))!;
  assert.equal(text(again.records.progress), text(record));
  await again.seat.leave();
});

test("who has lost the seat notices it, and writes no progress over that of the next one", async () => {
  const { seat } = (await take("a"))!;
  let losses = 0;
  seat.onLost = () => losses++;
  const { lease } = (await read(SEAT_KEY))!;
  await call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: lease }));
  const next = (await take("b"))!;
  await next.seat.exchange(encodeProgress(progress(2)));
  await seat.exchange(encodeProgress(progress(1)));
  assert.equal(await textOf(PROGRESS_KEY), text(encodeProgress(progress(2))));
  assert.ok(seat.isLost);
  assert.equal(losses, 1);
  await seat.leave();
  assert.match(await textOf(SEAT_KEY), /"proxy":"b"/);
  await next.seat.leave();
});

test("the lease is renewed; its end is noticed without an exchange", async () => {
  const { seat } = (await take("a"))!;
  let isLost = false;
  seat.onLost = () => {
    isLost = true;
  };
  const { lease } = (await read(SEAT_KEY))!;
  const left = async () => {
    const answer = await call(Lease.LeaseTimeToLive, LeaseTimeToLiveRequest.encode({ id: lease }));
    return LeaseTimeToLiveResponse.decode(answer).ttl;
  };
  let lowest = await left();
  await until("its time to live rises", async () => {
    const now = await left();
    lowest = Math.min(lowest, now);
    return now > lowest;
  });
  assert.ok(!isLost);
  await call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: lease }));
  await until("it is noticed", () => isLost);
  await seat.leave();
});

test("a host that does not respond for the TTL ends the seat", async () => {
  const { seat } = (await take("a"))!;
  let isLost = false;
  seat.onLost = () => {
    isLost = true;
  };
  await etcd.kill("SIGSTOP");
  try {
    await until("the seat is lost", () => isLost);
    await seat.leave();
  } finally {
    await etcd.kill("SIGCONT");
  }
});
