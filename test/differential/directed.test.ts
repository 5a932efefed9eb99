import { after, before, test } from "node:test";
import { EtcdClient, type Message } from "./client.js";
import { list, shardOf } from "./extents.js";
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

test("numbers that are revisions of a backend only mean nothing to a client", async () => {
  const { pair } = bench;
  const keys = ["/directed/a/1", "/directed/b/1", "/directed/c/1", "directed/d", "directed-e"];
  for (let round = 0; round < 4; round++) {
    for (const key of keys) await pair.run({ kind: "unary", method: "Put", request: { key } });
  }
  for (const { endpoint } of bench.store.shards) {
    const backend = new EtcdClient(endpoint);
    const everything = { key: Buffer.of(1), range_end: Buffer.of(0) };
    const { response } = await backend.call("Range", everything);
    backend.close();
    for (const { key, create_revision, mod_revision } of list(response?.kvs)) {
      const text = (key as Buffer).toString("latin1");
      for (const result of ["EQUAL", "NOT_EQUAL", "GREATER", "LESS"]) {
        await pair.run(compare({ key: text, target: "MOD", result, mod_revision }));
        await pair.run(compare({ key: text, target: "CREATE", result, create_revision }));
      }
      const range = { key: text, min_mod_revision: mod_revision, max_create_revision: create_revision };
      await pair.run({ kind: "unary", method: "Range", request: range });
    }
  }
});

function compare(condition: Message): Op {
  const read = { request_range: { key: condition.key } };
  return { kind: "unary", method: "Txn", request: { compare: [condition], success: [read] } };
}
