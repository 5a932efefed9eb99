import { after, before, test } from "node:test";
import { shardOf } from "./extents.js";
import type { Op } from "./ops.js";
import { Bench } from "./sequence.js";

/* Sequences that random ones found, in short: answered as by one etcd. */

let bench: Bench;
before(async () => {
  bench = await Bench.start();
});
after(() => bench.remove());

const put = (key: string, lease: string) => ({ request_put: { key, lease } });
const txn = (...success: object[]): Op => ({ kind: "unary", method: "Txn", request: { success } });

/** A lease id whose home is not the shard of `key`. */
function leaseAwayFrom(key: string, from: number): string {
  let id = BigInt(from);
  while (bench.router.homeOf(id) === shardOf(bench.router, key)) id++;
  return String(id);
}

test("a transaction refused for a lease that does not exist leaves its other leases alone", async () => {
  const { pair } = bench;
  const ID = leaseAwayFrom("/directed/leases/1", 10_000);
  const unknown = leaseAwayFrom("/directed/leases/1", 20_000);
  await pair.run({ kind: "unary", method: "LeaseGrant", request: { ID, TTL: "600" } });
  await pair.run(txn(put("/directed/leases/1", ID)));
  await pair.run(txn(put("/directed/leases/2", ID), put("/directed/leases/3", unknown)));
  await pair.run({ kind: "unary", method: "LeaseTimeToLive", request: { ID, keys: true } });
  await pair.run({ kind: "keepAlive", ids: [ID] });
});

test("an empty range is refused before a duplicate id is", async () => {
  const { pair } = bench;
  const watch = (key: string, range_end: string): Op => ({
    kind: "watch",
    stream: 0,
    request: { key, range_end, watch_id: 5 },
  });
  await pair.run(watch("a", "b"));
  await pair.run(watch("a", "c"));
  await pair.run(watch("b", "a"));
});

test("requests up to the limit are taken and larger ones refused", async () => {
  const value = (length: number): Op => ({
    kind: "unary",
    method: "Put",
    request: { key: "/directed/large", value: "v".repeat(length) },
  });
  const limit = 1.5 * 1024 * 1024;
  await bench.pair.run(value(limit - 512));
  await bench.pair.run(value(limit + 1));
  await bench.pair.run(value(limit + 400 * 1024));
});
