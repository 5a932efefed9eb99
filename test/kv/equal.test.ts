import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Compare, Init, RequestOp } from "../../src/wire/messages.js";
import { bytes, text } from "./model.js";
import { between, key, openPair, type Pair, put } from "./pair.js";

/*
 * Every field of every KV request, sent in the same order to a plain etcd and to a proxy over three shards. The responses
 * must be equal, including revisions. Keys with an "a" are on the first shard, "b" second, "c" third.
 */

let pair: Pair;
let both: Pair["both"];

before(async () => {
  pair = await openPair();
  both = pair.both;
});
after(() => pair.close());

type Op = Init<RequestOp>;
const get = (request: object): Op => ({ kind: "range", request });
const set = (name: string, value = "", more: object = {}): Op => ({
  kind: "put",
  request: { ...put(name, value), ...more },
});
const del = (request: object): Op => ({ kind: "deleteRange", request });
const nest = (request: object): Op => ({ kind: "txn", request });
const when = (name: string, fields: Partial<Compare>): Init<Compare> => ({ ...key(name), ...fields });

const EVERYTHING = between("\0", "\0");
const ALL = between("a", "d");

/** The newest revision, the same on both sides. */
async function head(): Promise<number> {
  const response = await both("range", { ...key("a"), countOnly: true });
  return response?.header?.revision as number;
}

test("an empty store, and the first write", async () => {
  await both("range", EVERYTHING);
  await both("range", { ...EVERYTHING, revision: 1 });
  await both("range", { ...EVERYTHING, revision: 2 });
  await both("deleteRange", EVERYTHING);
  await both("deleteRange", key("b1"));
  const response = await both("put", put("b1", "first"));
  assert.equal(response?.header?.revision, 2);
});

test("puts with every field", async () => {
  await both("put", { ...put("a1", "x"), prevKv: true });
  await both("put", { ...put("a1", "y"), prevKv: true });
  await both("put", { ...key("a1"), ignoreValue: true, prevKv: true });
  await both("put", { ...key("c1"), ignoreValue: true });
  await both("put", { ...key("c1"), ignoreLease: true });
  await both("put", { ...put("a1", "z"), ignoreLease: true });
  await both("put", { ...put("a1", "z"), ignoreValue: true });
  await both("put", { ...put("a1", "z", 5n), ignoreLease: true });
  await both("put", put("", "z"));
  await both("put", put("a1", "z", 4711n));
  await both("put", { ...put("c1", "z", 4711n), ignoreValue: true });
  // Neither the lease nor the key exists. The key's shard is the home of some of the leases.
  for (let lease = 4711n; lease < 4721n; lease++)
    await both("put", { ...key("c1"), lease, ignoreValue: true });
  await both("put", put("c\xff\xfe\x00", "\x00\xff"));
  await both("range", EVERYTHING);
});

test("ranges over one shard and over several with every field", async () => {
  for (const [name, value] of [
    ["b2", "m"],
    ["a2", "k"],
    ["c2", "k"],
    ["b1", "l"],
    ["a3", ""],
    ["b2", "a"],
    ["c2", "z"],
    ["a1", "n"],
  ]) {
    await both("put", put(name, value));
  }
  const revision = await head();
  const ranges = [
    EVERYTHING,
    ALL,
    key("a1"),
    key("x"),
    between("a", "b"),
    between("a2", "c2"),
    between("c", "a"),
  ];
  for (const range of [...ranges, between("b2", "\0"), between("\x01", "\x02"), between("", "\0")]) {
    for (const sortOrder of [0, 1, 2] as const) {
      for (const sortTarget of [0, 1, 2, 3, 4] as const) {
        for (const limit of [0, 1, 3, 50]) await both("range", { ...range, sortOrder, sortTarget, limit });
      }
    }
    for (const old of [-1, 1, 2, 4, revision - 3, revision, revision + 1, revision + 1000]) {
      await both("range", { ...range, revision: old });
      await both("range", { ...range, revision: old, limit: 2, countOnly: true });
      await both("range", { ...range, revision: old, serializable: true });
    }
    for (const bound of [-1, 1, 3, revision - 2, revision, revision + 1, revision + 1000]) {
      await both("range", { ...range, minModRevision: bound });
      await both("range", { ...range, maxModRevision: bound, limit: 2 });
      await both("range", { ...range, minCreateRevision: bound, sortOrder: 2, sortTarget: 3 });
      await both("range", { ...range, maxCreateRevision: bound, keysOnly: true });
      await both("range", {
        ...range,
        minModRevision: 5,
        maxModRevision: bound,
        revision: revision - 1,
        limit: -7,
      });
    }
    await both("range", { ...range, keysOnly: true, sortTarget: 4, limit: 4 });
    await both("range", { ...range, keysOnly: true, countOnly: true, serializable: true });
    await both("range", { ...range, serializable: true });
  }
  await both("range", {
    ...EVERYTHING,
    minModRevision: 4,
    maxModRevision: 9,
    minCreateRevision: 3,
    maxCreateRevision: 8,
  });
});

test("paging through all shards at one revision while they change", async () => {
  for (let i = 0; i < 12; i++) await both("put", put(`${"abc"[i % 3]}page${i}`, `${i}`));
  let from = "a";
  let revision = 0;
  for (let page = 0; page < 20; page++) {
    const response = await both("range", { ...between(from, "d"), limit: 4, revision });
    revision ||= response?.header?.revision as number;
    await both("put", put(`${"abc"[page % 3]}page${page}`, "changed"));
    await both("deleteRange", key(`${"cab"[page % 3]}page${page + 1}`));
    if (!response?.more) break;
    from = `${text(response.kvs[response.kvs.length - 1].key)}\0`;
  }
});

test("deletions on one shard", async () => {
  await both("deleteRange", { ...key("a1"), prevKv: true });
  await both("deleteRange", { ...key("a1"), prevKv: true });
  await both("deleteRange", { ...between("apage", "apagf"), prevKv: true });
  await both("deleteRange", between("apage", "apagf"));
  await both("deleteRange", between("b", "a"));
  await both("deleteRange", key(""));
  await both("put", { ...put("a1", "again"), prevKv: true });
  await both("range", EVERYTHING);
});

test("compares of all targets, results and sides", async () => {
  await both("put", put("a1", "one"));
  await both("put", put("b1", "other shard"));
  const grant = await both("grant", { id: 77n, ttl: 300 });
  assert.equal(grant?.id, 77n);
  await both("put", put("a4", "leased", 77n));
  const revision = await head();
  const near = [
    -1,
    0,
    1,
    2,
    3,
    revision - 3,
    revision - 2,
    revision - 1,
    revision,
    revision + 1,
    revision + 999,
  ];
  const operands: Partial<Compare>[] = [
    ...near.map((one) => ({ target: 1, createRevision: one }) as const),
    ...near.map((one) => ({ target: 2, modRevision: one }) as const),
    ...[0, 1, 2, 3].map((version) => ({ target: 0, version }) as const),
    ...["", "one", "two"].map((value) => ({ target: 3, value: bytes(value) }) as const),
    ...[0n, 77n, 78n].map((lease) => ({ target: 4, lease }) as const),
    { target: 2, createRevision: revision },
    { target: 1 },
    { target: 3, version: 1 },
  ];
  const ranges = [
    key("a1"),
    key("a4"),
    key("amissing"),
    between("a", "b"),
    between("a9", "b"),
    between("a", "d"),
    between("a~", "b0"),
  ];
  for (const operand of operands) {
    for (const result of [0, 1, 2, 3] as const) {
      const request = (range: object) => ({ compare: [{ ...operand, result, ...range }] });
      await Promise.all(ranges.map((range) => both("txn", request(range))));
    }
  }
});

test("transactions on one shard, with their inner headers", async () => {
  const exists = when("b1", { target: 0, result: 1, version: 0 });
  const missing = when("b1", { target: 0, result: 0, version: 0 });
  await both("txn", {
    compare: [exists],
    success: [get(key("b1")), set("b1", "t1", { prevKv: true }), get(key("b1"))],
  });
  await both("txn", {
    compare: [missing],
    success: [set("b1", "no")],
    failure: [get(between("b", "c")), del(key("b1"))],
  });
  await both("txn", {
    success: [del(key("bnone")), set("b5", "v"), del({ ...key("b2"), prevKv: true }), get(between("b", "c"))],
  });
  await both("txn", { success: [del(key("bnone")), get(key("b5"))] });
  await both("txn", {
    success: [set("b6", "v"), set("b7", "w"), get({ ...between("b", "c"), sortOrder: 2, sortTarget: 3 })],
  });
  await both("txn", {
    compare: [exists],
    success: [nest({ compare: [missing], failure: [set("b8"), get(key("b8"))] }), get(key("b8"))],
  });
  await both("txn", {
    success: [nest({ success: [nest({ success: [get(key("b8"))] })] }), set("b9", "deep")],
  });
  await both("txn", { success: [set("b1", "", { ignoreValue: true, value: bytes(""), prevKv: true })] });
  await both("txn", { success: [set("bnone", "", { ignoreValue: true })] });
  await both("txn", { success: [set("b1", "v", { lease: 999n })] });
  await both("txn", {
    compare: [missing],
    success: [set("b1", "v", { lease: 999n })],
    failure: [get(key("b1"))],
  });
  await both("txn", { success: [set("b1"), set("b1")] });
  await both("txn", { success: [set("b1"), del(between("b", "c"))] });
  await both("txn", { success: [set("")] });
  await both("txn", { success: [{ kind: "none" }] });
  await both("txn", { success: Array.from({ length: 129 }, (_, i) => set(`b${i}`)) });
  await both("txn", {});
});

test("old, future and compacted revisions in a transaction matter only in the branch taken", async () => {
  const revision = await head();
  const never = when("a1", { target: 0, result: 2, version: 0 });
  for (const old of [-2, -1, 2, 5, revision, revision + 1, revision + 500]) {
    const read = get({ ...between("a", "b"), revision: old });
    await both("txn", { success: [read, get(key("a1"))] });
    await both("txn", { success: [read, set("a1", `${old}`)] });
    await both("txn", { compare: [never], success: [read, set("a1")], failure: [get(key("a1"))] });
    const several = get({ ...ALL, revision: old });
    await both("txn", { success: [several, get(key("b1"))] });
    await both("txn", { compare: [never], success: [several], failure: [get(ALL)] });
  }
  await both("txn", {
    success: [get({ ...between("a", "b"), minModRevision: 5, maxModRevision: revision }), set("a1", "x")],
  });
});

test("transactions that write nothing are answered from a snapshot of all shards", async () => {
  const exists = when("c2", { target: 0, result: 1, version: 0 });
  const missing = when("c2", { target: 1, result: 0, createRevision: 0 });
  await both("txn", {
    compare: [exists],
    success: [get(key("a1")), get(key("b1")), get({ ...ALL, limit: 3, sortOrder: 2 })],
  });
  await both("txn", {
    compare: [exists, missing],
    success: [get(ALL)],
    failure: [get({ ...ALL, countOnly: true }), get(key("x"))],
  });
  await both("txn", {
    compare: [exists],
    success: [get({ ...ALL, serializable: true })],
    failure: [get({ ...ALL, serializable: true })],
  });
  await both("txn", {
    success: [
      nest({ compare: [missing], success: [get(ALL)], failure: [get(key("a1")), nest({})] }),
      get(key("b1")),
    ],
  });
  await both("txn", { success: [del(between("b", "a")), get(ALL)] });
  await both("txn", { compare: [exists, when("a1", { target: 0, result: 1, version: 0 })] });
  await both("txn", {
    success: [get({ ...ALL, sortTarget: 4, keysOnly: true }), get({ ...ALL, minModRevision: 7 })],
  });
});

test("leased keys on several shards", async () => {
  await both("grant", { id: 500n, ttl: 600 });
  await both("grant", { id: 500n, ttl: 600 });
  for (const name of ["a1", "b1", "c1"]) {
    await both("put", { ...put(name, "leased", 500n), prevKv: true });
    await both("put", { ...key(`${name}missing`), lease: 500n, ignoreValue: true });
  }
  await both("txn", {
    success: [set("b2", "leased", { lease: 500n }), set("b3", "leased", { lease: 500n })],
  });
  await both("put", { ...put("b2", "kept"), ignoreLease: true, prevKv: true });
  await both("range", ALL);
  await both("put", put("b1", "free"));
  await both("range", ALL);
});

test("reads and compactions are refused alike before and after a compaction", async () => {
  const revision = await head();
  await both("compact", { revision: revision + 1 });
  await both("compact", { revision: revision - 6 });
  await both("compact", { revision: revision - 6 });
  await both("compact", { revision: revision - 9, physical: true });
  await both("compact", { revision: -1 });
  for (const old of [-1, 2, revision - 7, revision - 6, revision - 5, revision]) {
    for (const range of [ALL, key("a1"), between("b", "c")]) {
      await both("range", { ...range, revision: old });
      await both("txn", { success: [get({ ...range, revision: old })] });
    }
    await both("txn", { success: [get({ ...key("a1"), revision: old }), set("a1", "written")] });
  }
  await both("compact", { revision: revision - 2, physical: true });
  const now = await head();
  await both("compact", { revision: now, physical: true });
  await both("range", { ...ALL, revision: now });
  await both("range", { ...ALL, revision: now - 1 });
  await both("range", ALL);
  await both("put", put("c1", "after"));
});

test("revisions of old keys survive a compaction", async () => {
  const { kvs } = (await both("range", EVERYTHING)) ?? assert.fail();
  for (const kv of kvs) {
    await both("txn", {
      compare: [
        { key: kv.key, target: 2, result: 0, modRevision: kv.modRevision },
        { key: kv.key, target: 1, result: 0, createRevision: kv.createRevision },
      ],
      success: [{ kind: "put", request: { key: kv.key, value: bytes("swapped") } }],
      failure: [get({ key: kv.key })],
    });
    await both("range", { ...EVERYTHING, minModRevision: kv.modRevision, keysOnly: true });
    await both("range", { ...EVERYTHING, maxCreateRevision: kv.createRevision, keysOnly: true });
  }
});

test("a request of the largest size, and a larger one", async () => {
  const value = "v".repeat(1_572_864 - 40);
  await both("put", put("a9", value));
  await both("put", put("a9", `${value}${"v".repeat(40)}`));
  await both("txn", { success: [set("a9", `${value}${"v".repeat(40)}`)] });
  await both("range", { ...between("a9", "a9\xff"), keysOnly: true });
});
