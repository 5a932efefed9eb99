import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import type { Init, RequestOp } from "../../src/wire/messages.js";
import { rangesReadAt } from "../kv/counts.js";
import { type Ask, between, key, openProxy, outcome, put, type TestProxy } from "../kv/pair.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";

/* A transaction may read 128 MiB. Keys with "a" are on the first shard, those with "b" on the second. */

let shards: EtcdProcess[];
let proxy: TestProxy;
let ask: Ask;

before(async () => {
  shards = await startEtcds(3);
  proxy = await openProxy(shards);
  ask = proxy.ask;
  // 10 MiB on the first shard.
  for (let i = 0; i < 10; i++) await ask("put", put(`a${i}`, String(i).repeat(1 << 20)));
});
after(async () => {
  proxy.stop();
  await Promise.all(shards.map((shard) => shard.remove()));
});

const range = (from: string, end: string): Init<RequestOp> => ({
  kind: "range",
  request: between(from, end),
});
const times = (count: number, op: Init<RequestOp>) => Array.from({ length: count }, () => op);

async function refused(success: readonly Init<RequestOp>[]): Promise<void> {
  const error = await outcome(ask("txn", { success: success as RequestOp[] }));
  assert.ok(error instanceof StatusError, "it ran");
  assert.equal(error.code, Code.RESOURCE_EXHAUSTED);
  assert.match(error.message, /would read more than 128 MiB/);
}

/** More ranges than the proxy itself reads of a shard meanwhile, to see whether it responds. */
const PROBES = 8;

test("on one shard: refused after at most two of the ranges were read", async () => {
  const read = await rangesReadAt(shards, () => refused(times(100, range("a", "b"))));
  assert.ok(read < 2 + PROBES, `${read} ranges were read`);
  const written = { kind: "put", request: put("a/new", "x") } as Init<RequestOp>;
  await refused([...times(20, range("a", "b")), written]);
  assert.equal((await ask("range", key("a/new"))).count, 0);
});

test("nested, and over several shards", async () => {
  const nested = {
    kind: "txn",
    request: { success: times(20, range("a", "b")) },
  } as unknown as Init<RequestOp>;
  await refused([nested]);
  await refused(times(20, range("a", "c")));
});

test("as many single keys as etcd allows by default are read once", async () => {
  const gets = Array.from(
    { length: 128 },
    (_, i): Init<RequestOp> => ({ kind: "range", request: key(`b/get${i}`) }),
  );
  const read = await rangesReadAt([shards[1]!], () => ask("txn", { success: gets as RequestOp[] }));
  assert.ok(read >= 128 && read < 128 + PROBES, `${read} ranges were read`);
});

test("transactions that read less run: a few large ranges, many small ones, many keys", async () => {
  const counts = async (success: readonly Init<RequestOp>[]) => {
    const { responses } = await ask("txn", { success: success as RequestOp[] });
    return responses.map((each) => (each.kind === "range" ? each.response.count : -1));
  };
  assert.deepEqual(await counts(times(9, range("a", "b"))), Array(9).fill(10));
  assert.deepEqual(await counts(times(100, range("a0", "a00"))), Array(100).fill(1));
  assert.deepEqual(await counts(times(100, range("b", "c"))), Array(100).fill(0));
  assert.deepEqual(await counts(times(60, { kind: "range", request: key("a1") })), Array(60).fill(1));
  assert.deepEqual(await counts(times(20, range("b", "d"))), Array(20).fill(0));
});
