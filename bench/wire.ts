import {
  type KeyValue,
  PutRequest,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
  WatchResponse,
} from "../src/wire/messages.js";
import { encodeHeader, peekRevision, rewriteRange, rewriteTxn } from "../src/wire/rewrite.js";
import { decodeWatch, encodeEvent, encodeWatchHead } from "../src/wire/watch.js";

/*
 * Nanoseconds of CPU time per operation of the wire room: `node --import tsx bench/wire.ts`. One line per operation: the best of
 * several rounds, which is the least disturbed by other work.
 */

const ROUNDS = 7;
const ROUND_MS = 120;

const key = Buffer.from("/registry/pods/default/web-7d4b9c6f5-x2x9z");
const header = {
  clusterId: 14841639068965178418n,
  memberId: 10276657743932975437n,
  revision: 123456,
  raftTerm: 4,
};
const field = encodeHeader({ ...header, revision: 98765432 });
const map = (revision: number): number => revision + 1_000_000;
const kv: KeyValue = {
  key,
  createRevision: 1200,
  modRevision: 99000,
  version: 7,
  value: Buffer.alloc(256),
  lease: 0n,
};

const range = RangeRequest.encode({ key, rangeEnd: key, limit: 500 });
const put = PutRequest.encode({ key, value: Buffer.alloc(256), lease: 7587862094292013000n });
const compareAndSwap = TxnRequest.encode({
  compare: [{ target: 2, key, modRevision: 99000 }],
  success: [{ kind: "put", request: { key, value: Buffer.alloc(256) } }],
  failure: [{ kind: "range", request: { key } }],
});
const one = RangeResponse.encode({ header, kvs: [kv], count: 1 });
const thousand = RangeResponse.encode({ header, kvs: Array.from({ length: 1000 }, () => kv), count: 1000 });
const big = RangeResponse.encode({ header, kvs: [{ ...kv, value: Buffer.alloc(1 << 20) }], count: 1 });
const swapped = TxnResponse.encode({
  header,
  succeeded: true,
  responses: [{ kind: "put", response: { header: { revision: 99001 } } }],
});
const decodedThousand = RangeResponse.decode(thousand);
const watch = WatchResponse.encode({ header, events: [{ type: 0, kv, prevKv: kv }] });
const [event] = decodeWatch(watch).events;

/** Keeps results alive, so that nothing is optimized away. */
let sink: unknown;

const operations: [name: string, run: () => unknown, per?: number][] = [
  ["decode RangeRequest", () => RangeRequest.decode(range)],
  ["decode PutRequest, 256 B", () => PutRequest.decode(put)],
  ["decode TxnRequest, compare and swap", () => TxnRequest.decode(compareAndSwap)],
  ["encode RangeRequest", () => RangeRequest.encode({ key, limit: 500 })],
  ["encode PutRequest, 256 B", () => PutRequest.encode({ key, value: kv.value })],
  ["encode header field", () => encodeHeader(header)],
  ["peek revision", () => peekRevision(one)],
  ["rewrite Range, 1 key", () => rewriteRange(one, field, map)],
  ["rewrite Range, 1000 keys, per key", () => rewriteRange(thousand, field, map), 1000],
  ["rewrite Range, 1 key of 1 MiB", () => rewriteRange(big, field, map)],
  ["rewrite Txn, compare and swap", () => rewriteTxn(swapped, field, map, map)],
  ["decode Range, 1000 keys, per key", () => RangeResponse.decode(thousand), 1000],
  ["encode Range, 1000 keys, per key", () => RangeResponse.encode(decodedThousand), 1000],
  ["decode watch response, 1 event", () => decodeWatch(watch)],
  ["encode event", () => encodeEvent(event, map)],
  ["encode event, with and without prev_kv", () => encodeEvent(event, map).plain],
  ["encode watch head", () => encodeWatchHead(field, 17)],
];

for (const [name, run, per = 1] of operations) {
  console.log(`${name.padEnd(42)} ${(measure(run) / per).toFixed(0).padStart(8)} ns`);
}

function measure(run: () => unknown): number {
  let count = 1;
  while (time(run, count) < ROUND_MS / 4) count *= 2;
  count *= 4;
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) best = Math.min(best, time(run, count) / count);
  return best * 1e6;
}

/** CPU time in milliseconds. Unlike the clock, it does not include other processes. */
function time(run: () => unknown, count: number): number {
  const started = process.cpuUsage();
  for (let i = 0; i < count; i++) sink = run();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

process.exitCode = sink === undefined ? 1 : 0;
