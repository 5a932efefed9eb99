import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import {
  DeleteRangeResponse,
  type Init,
  RangeResponse,
  type RequestOp,
  TxnResponse,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { text } from "./model.js";
import {
  type Ask,
  between,
  invoke,
  key,
  openPlain,
  openProxy,
  outcome,
  put,
  TestCall,
  type TestProxy,
} from "./pair.js";

/* What only a store of several shards has to do. Keys: "a" first shard, "b" second, "c" third. */

let shards: EtcdProcess[];
let first: TestProxy;
let second: TestProxy;
let ask: Ask;

before(async () => {
  shards = await startEtcds(3);
  [first, second] = await Promise.all([openProxy(shards), openProxy(shards)]);
  ask = first.ask;
});
after(async () => {
  first.stop();
  second.stop();
  await Promise.all(shards.map((etcd) => etcd.remove()));
});

type Op = Init<RequestOp>;
const get = (request: object): Op => ({ kind: "range", request });
const set = (name: string): Op => ({ kind: "put", request: put(name) });
const del = (request: object): Op => ({ kind: "deleteRange", request });

const EVERYTHING = between("\0", "\0");
const ALL = between("a", "d");

async function refused(promise: Promise<unknown>): Promise<StatusError> {
  const result = await outcome(promise);
  assert.ok(result instanceof StatusError, "was not refused");
  return result;
}

const keysOf = (response: { kvs: { key: Uint8Array }[] }) => response.kvs.map((kv) => text(kv.key));

test("a deletion over several shards is complete, in key order, and newer than what it deleted", async () => {
  for (const name of ["c1", "a1", "b1", "b2", "a2"]) await ask("put", put(name, `was ${name}`));
  const before = (await ask("range", ALL)).header!.revision;
  const response = await ask("deleteRange", { ...ALL, prevKv: true });
  assert.equal(response.deleted, 5);
  assert.deepEqual(
    response.prevKvs.map((kv) => [text(kv.key), text(kv.value), kv.modRevision - before]),
    [
      ["a1", "was a1", -3],
      ["a2", "was a2", 0],
      ["b1", "was b1", -2],
      ["b2", "was b2", -1],
      ["c1", "was c1", -4],
    ],
  );
  assert.equal(response.header!.revision, before + 3, "one revision on each shard");
  const left = await second.ask("range", ALL);
  assert.deepEqual([left.count, left.header!.revision], [0, before + 3]);
  const again = await ask("deleteRange", ALL);
  assert.deepEqual([again.deleted, again.header!.revision], [0, before + 3]);
});

test("a transaction that would write across shards is refused with the places of its keys", async () => {
  const { head } = first.store.timeline;
  const writes = await refused(ask("txn", { success: [set("a/x"), set("b/y")] }));
  assert.equal(writes.code, Code.INVALID_ARGUMENT);
  assert.match(writes.message, /across shards: "a\/x" is on shard "shard0", "b\/y" is on shard "shard1"/);
  const range = await refused(ask("txn", { success: [set("a/x"), get(between("a", "c"))] }));
  assert.match(range.message, /\["a", "c"\) is on shards "shard0", "shard1"/);
  const branch = await refused(
    ask("txn", {
      success: [get(key("c"))],
      failure: [{ kind: "txn", request: { success: [del(key("a"))] } }],
    }),
  );
  assert.match(branch.message, /"c" is on shard "shard2", "a" is on shard "shard0"/);
  assert.equal(
    (await ask("range", { ...key("a"), countOnly: true })).header!.revision,
    head,
    "nothing was written",
  );
});

test("etcd's own errors come before those of a store", async () => {
  const twice = await refused(ask("txn", { success: [set("a"), set("b"), set("a")] }));
  assert.equal(twice.message, "etcdserver: duplicate key given in txn request");
});

test("the reserved keyspace cannot be seen, written or deleted", async () => {
  await ask("put", put("a1", "kept"));
  for (const request of [EVERYTHING, between("\0", "a\xff"), between("\0braid/", "b")]) {
    assert.ok(!keysOf(await ask("range", request)).some((name) => name.startsWith("\0")));
  }
  for (const request of [key("\0braid/base"), between("\0", "\x01"), between("\0braid/", "\0braid0")]) {
    const nothing = await ask("range", request);
    assert.deepEqual([nothing.count, nothing.kvs.length], [0, 0]);
    const inside = await ask("txn", { success: [get(request), get(key("a1"))] });
    const [hidden, seen] = inside.responses;
    assert.deepEqual([hidden.kind, seen.kind], ["range", "range"]);
    assert.ok(hidden.kind === "range" && hidden.response.count === 0);
    assert.ok(seen.kind === "range" && seen.response.count === 1);
  }
  const absent = await ask("txn", {
    compare: [{ ...key("\0braid/base"), target: 0, result: 0, version: 0 }],
    success: [set("a2")],
  });
  assert.equal(absent.succeeded, true);

  for (const request of [set("\0x"), del(key("\0braid/base"))]) {
    const error = await refused(ask("txn", { success: [request] }));
    assert.equal(error.code, Code.INVALID_ARGUMENT);
    assert.match(error.message, /^etcd-braid: key "\\x00.*" is reserved/);
  }
  assert.match((await refused(ask("put", put("\0x")))).message, /"\\x00x" is reserved/);
  assert.match((await refused(ask("deleteRange", key("\0x")))).message, /"\\x00x" is reserved/);

  assert.equal((await ask("deleteRange", between("\0", "\x01"))).deleted, 0);
  assert.equal((await ask("deleteRange", EVERYTHING)).deleted, 2);
  await ask("txn", { success: [del(between("\0braid/", "\0braid0")), set("a3")] });
  const third = await openProxy(shards);
  try {
    const { revision } = (await third.ask("put", put("a1"))).header!;
    assert.equal(revision, (await ask("range", EVERYTHING)).header!.revision, "the timeline goes on");
  } finally {
    third.stop();
  }
});

test("a write through one proxy is at the same revision in every other, at once", async () => {
  for (let i = 0; i < 30; i++) {
    const name = `${"abc"[i % 3]}shared`;
    const { revision } = (await ask("put", put(name, `${i}`))).header!;
    const single = await second.ask("range", key(name));
    assert.deepEqual([text(single.kvs[0].value), single.kvs[0].modRevision], [`${i}`, revision]);
    const several = await second.ask("range", ALL);
    assert.equal(several.header!.revision, revision);
    const swapped = await second.ask("txn", {
      compare: [{ ...key(name), target: 2, result: 0, modRevision: revision }],
      success: [get(key(name))],
    });
    assert.equal(swapped.succeeded, true);
  }
});

test("a compare with a revision that only another proxy knows is not in the future", async () => {
  const { revision } = (await ask("put", put("b1", "new"))).header!;
  const swapped = await second.ask("txn", {
    compare: [{ ...key("b1"), target: 2, result: 0, modRevision: revision }],
    success: [set("b1")],
  });
  assert.equal(swapped.succeeded, true);
  const { revision: next } = (await ask("put", put("c1", "new"))).header!;
  const read = await second.ask("range", { ...ALL, revision: next, countOnly: true });
  assert.equal(read.header!.revision, next);
});

test("a snapshot of several shards never shows a write without those before it", async () => {
  await ask("put", put("a-order", "0"));
  await ask("put", put("c-order", "0"));
  let writing = true;
  const writer = (async () => {
    for (let i = 1; i <= 150; i++) {
      await ask("put", put("a-order", `${i}`));
      await ask("put", put("c-order", `${i}`));
    }
    writing = false;
  })();
  let snapshots = 0;
  const reader = async (proxy: TestProxy, op: "range" | "txn") => {
    let last = 0;
    while (writing) {
      const reads = ["a-order", "c-order"].map((name) => get(key(name)));
      const response =
        op === "range" ? await proxy.ask("range", ALL) : await proxy.ask("txn", { success: reads });
      const kvs =
        "kvs" in response
          ? response.kvs.filter((kv) => text(kv.key).endsWith("-order"))
          : response.responses.flatMap((one) => (one.kind === "range" ? one.response.kvs : []));
      const [a, c] = kvs.map((kv) => Number(text(kv.value)));
      assert.ok(a === c || a === c + 1, `a-order is ${a}, c-order is ${c}`);
      const newest = Math.max(...kvs.map((kv) => kv.modRevision));
      assert.ok(newest <= response.header!.revision);
      assert.ok(response.header!.revision >= last, "revisions do not go back");
      last = response.header!.revision;
      snapshots++;
    }
  };
  await Promise.all([writer, reader(first, "range"), reader(second, "range"), reader(second, "txn")]);
  assert.ok(snapshots > 10, `only ${snapshots} snapshots were read`);
});

test("writes past the proxies are sealed when they are read", async () => {
  const direct = openPlain(shards[1]);
  try {
    const before = (await ask("range", ALL)).header!.revision;
    await direct.ask("put", put("b-direct", "1"));
    await direct.ask("put", put("b-direct", "2"));
    const read = await ask("range", key("b-direct"));
    assert.deepEqual([read.kvs[0].modRevision, read.kvs[0].createRevision], [before + 2, before + 1]);
    assert.equal(read.header!.revision, before + 2);
    const snapshot = await second.ask("range", ALL);
    assert.equal(snapshot.header!.revision, before + 2);
  } finally {
    direct.close();
  }
});

test("a shard that was compacted above what is sealed shows its newest state", async () => {
  const direct = openPlain(shards[2]);
  try {
    const { revision } = (await direct.ask("put", put("c-compacted", "1"))).header!;
    await direct.ask("compact", { revision });
    for (const serializable of [true, false]) {
      const snapshot = await ask("range", { ...ALL, serializable });
      assert.ok(keysOf(snapshot).includes("c-compacted"));
    }
  } finally {
    direct.close();
  }
});

test("a compaction through one proxy holds for the others, and reaches the shards", async () => {
  await ask("put", put("a1", "x"));
  const { revision } = (await ask("put", put("b1", "x"))).header!;
  await ask("compact", { revision, physical: true });
  const COMPACTED = "etcdserver: mvcc: required revision has been compacted";
  assert.equal((await refused(second.ask("compact", { revision }))).message, COMPACTED);
  assert.equal((await refused(second.ask("range", { ...ALL, revision: revision - 1 }))).message, COMPACTED);
  assert.equal(
    (await refused(second.ask("range", { ...key("a1"), revision: revision - 1 }))).message,
    COMPACTED,
  );
  for (const etcd of shards) {
    const direct = openPlain(etcd);
    const old = await refused(direct.ask("range", { ...key("x"), revision: 2 }));
    assert.equal(old.message, COMPACTED);
    direct.close();
  }
});

test("a put with a lease of another shard, and what happens when its part there is lost", async () => {
  for (let id = 9000n; id < 9006n; id++) {
    await ask("grant", { id, ttl: 600 });
    for (const name of ["a", "b", "c"]) await ask("put", put(`${name}-lease-${id}`, "v", id));
    const dead = { compare: [{ ...key("b1"), target: 0, result: 0, version: 99 }] as const };
    const untouched = await ask("txn", {
      ...dead,
      success: [{ kind: "put", request: put("b1", "v", 424242n) }],
      failure: [get(key("b1"))],
    });
    assert.equal(untouched.succeeded, false, "a dead lease in the branch that is not taken is no error");
    const read = await ask("range", between("a-lease", "d"));
    assert.equal(read.kvs.filter((kv) => kv.lease === id).length, 3);
    await ask("revoke", { id });
    const gone = await second.ask("range", between("a-lease", "d"));
    assert.equal(gone.kvs.filter((kv) => kv.lease === id).length, 0);
    for (const name of ["a1", "b1", "c1"]) {
      const error = await refused(second.ask("put", put(name, "v", id)));
      assert.deepEqual(
        [error.code, error.message],
        [Code.NOT_FOUND, "etcdserver: requested lease not found"],
      );
    }
  }
});

test("headers name the same cluster through every proxy", async () => {
  const headers = [
    (await ask("put", put("a1"))).header!,
    (await second.ask("range", key("b1"))).header!,
    (await second.ask("range", ALL)).header!,
    (await ask("txn", { success: [get(ALL)] })).header!,
    (await ask("deleteRange", ALL)).header!,
  ];
  for (const header of headers) {
    assert.equal(header.clusterId, headers[0].clusterId);
    assert.equal(header.memberId, 7n);
    assert.ok(header.raftTerm >= 1);
  }
});

test("an empty range end on the wire means one key, for reads, compares and deletions", async () => {
  for (const name of ["a-end1", "a-end2", "b-end1"]) await ask("put", put(name, name));
  const bytes = (...parts: (string | number[])[]) =>
    Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  const name = "a-end1";
  const range = bytes([0x0a, name.length], name, [0x12, 0x00]);
  const send = (path: string, request: Uint8Array) =>
    invoke(first.handler(path), new TestCall(path), request);
  const read = RangeResponse.decode(await send(KV.Range, range));
  assert.equal(read.count, 1);

  // value == its own; then read it. A compare of all keys from here on would not hold.
  const compare = bytes([0x10, 0x03, 0x1a, name.length], name, [0x3a, name.length], name, [0x82, 0x04, 0x00]);
  const op = bytes([0x0a, range.length, ...range]);
  const txn = bytes([0x0a, compare.length, ...compare, 0x12, op.length, ...op]);
  const { succeeded, responses } = TxnResponse.decode(await send(KV.Txn, txn));
  assert.equal(succeeded, true);
  const [inner] = responses;
  assert.equal(inner.kind === "range" && inner.response.count, 1);

  const deletion = DeleteRangeResponse.decode(await send(KV.DeleteRange, range));
  assert.equal(deletion.deleted, 1);
});
