import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusError } from "../../src/status/error.js";
import { AppendEncoder, decodeAppended } from "../../src/timeline/append.js";
import { decodeEntry, type Entry, encodeEntry } from "../../src/timeline/entry.js";
import { BASE_KEY, entryKey, TAIL_KEY } from "../../src/timeline/keys.js";
import { TxnRequest, TxnResponse } from "../../src/wire/messages.js";

const key = entryKey(3, "proxy", 70);

test("an append is a transaction on the base that puts the entry and the tail", () => {
  const encoder = new AppendEncoder();
  // Lengths of one and of two bytes, and a guard that changes.
  for (const [guard, entry] of [
    [0, "{}"],
    [7, "{}"],
    [7, "x".repeat(127)],
    [2 ** 40, "x".repeat(128)],
    [2 ** 40, "x".repeat(200_000)],
  ] as const) {
    const { compare, success, failure } = TxnRequest.decode(encoder.encode(guard, key, entry));
    assert.equal(compare.length, 1);
    const { target, result, modRevision } = compare[0];
    assert.deepEqual([target, result, modRevision], [2, 0, guard]);
    assert.deepEqual(Buffer.from(compare[0].key), BASE_KEY);
    const puts = success.map((operation) => {
      assert.equal(operation.kind, "put");
      const { key, value, prevKv } = operation.request;
      return [Buffer.from(key).toString(), Buffer.from(value).toString(), prevKv];
    });
    assert.deepEqual(puts, [
      [key, entry, false],
      [TAIL_KEY.toString(), "", true],
    ]);
    assert.deepEqual(failure, []);
  }
});

test("the response to an append shows its outcome, its revision, and the previous change", () => {
  const header = { clusterId: 2n ** 63n, memberId: 5n, revision: 900, raftTerm: 4 };
  const put = (modRevision: number) =>
    ({
      kind: "put",
      response: {
        header: { revision: 900 },
        prevKv: { key: TAIL_KEY, createRevision: 2, modRevision, version: 9 },
      },
    }) as const;
  const landed = { header, succeeded: true, responses: [{ kind: "put", response: {} } as const, put(899)] };
  assert.deepEqual(decodeAppended(TxnResponse.encode(landed)), {
    committed: true,
    revision: 900,
    previous: 899,
    raftTerm: 4,
  });
  assert.deepEqual(decodeAppended(TxnResponse.encode({ header })), {
    committed: false,
    revision: 900,
    previous: 0,
    raftTerm: 4,
  });
  assert.throws(() => decodeAppended(Buffer.from([0x0a, 0x05, 0x18])), StatusError);
});

test("entries are decoded as encoded", () => {
  const entries: Entry[] = [
    { reached: new Map(), compact: 0, leases: [], raftTerm: 0 },
    { reached: new Map([[2, 17]]), compact: 0, leases: [], raftTerm: 0 },
    {
      reached: new Map([
        [0, 5],
        [1, 2 ** 50],
      ]),
      compact: 12,
      leases: [
        { kind: "place", lease: 2n ** 62n + 1n, shard: 0 },
        { kind: "unplace", lease: 7n },
      ],
      raftTerm: 3,
    },
    { reached: new Map(), compact: 0, leases: [], raftTerm: 2, own: true },
  ];
  for (const entry of entries) assert.deepEqual(decodeEntry(Buffer.from(encodeEntry(entry))), entry);
});
