import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { finishInParts, LongRanges, PART_KEYS } from "../../src/services/kv/longRange.js";
import { Code, StatusError } from "../../src/status/error.js";
import { RangeRequest, RangeResponse, type RequestOp } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { RangeMerge } from "../../src/wire/rangeMerge.js";
import { RangePart } from "../../src/wire/rangePart.js";
import { answeredAt } from "./counts.js";
import { bytes, text } from "./model.js";
import {
  between,
  comparable,
  invoke,
  openPair,
  outcome,
  type Pair,
  put,
  type Request,
  type Response,
  TestCall,
} from "./pair.js";

/* Long ranges, which are read in parts. Keys: "a" first shard, "b" second, "c" third. */

const KEYS = { a: 2_600, b: 1_300, c: 300 };
const ALL = between("a", "d");

let pair: Pair;
/** A revision at which most keys exist. */
let early = 0;

before(async () => {
  pair = await openPair();
  for (const [prefix, count] of Object.entries(KEYS)) {
    for (let from = 0; from < count; from += 100) {
      const success: RequestOp[] = Array.from({ length: 100 }, (_, i) => ({
        kind: "put",
        // Of different lengths, and so not in the order of their revisions.
        request: { ...put(`${prefix}/${(from + i) % 7}/key-${from + i}`, `value ${from + i}`) },
      })) as RequestOp[];
      const response = await pair.both("txn", { success });
      if (prefix === "b") early = response!.header!.revision;
    }
  }
  await pair.both("deleteRange", between("a/3/key-1", "a/3/key-2"));
  await pair.both("put", put("b/1/key-1", "a new value"));
});
after(() => pair?.close());

const range = (request: Request<"range">, call = new TestCall(KV.Range)) =>
  invoke(pair.braid.handler(KV.Range), call, RangeRequest.encode(request)).then((response) =>
    RangeResponse.decode(response),
  );

/** A call for a range that is known to be long. It runs `steps` when it takes its turn: before the first part, and after it. */
function interrupted(...steps: ((call: TestCall) => unknown)[]): TestCall {
  const call: TestCall & { longTurn?: () => Promise<void> } = new TestCall(KV.Range);
  call.longTurn = async () => {
    await steps.shift()?.(call);
  };
  return call;
}

const nothing = () => {};

test("a long range is what one etcd returns", async () => {
  const variants: Request<"range">[] = [
    {},
    ...[1, 999, 1_000, 1_001, 2_000, 2_001, 2_999, 4_000, 5_000].map((limit) => ({ limit })),
    { keysOnly: true },
    { countOnly: true },
    { sortOrder: 1 },
    { sortOrder: 2 },
    { sortOrder: 2, limit: 2_500 },
    { serializable: true },
    { revision: early },
    { revision: early, limit: 2_500, serializable: true },
    { minModRevision: early },
  ];
  const ranges = [
    ALL,
    between("a", "b"),
    between("a/2", "b/4"),
    between("b/1/key-2", "\0"),
    between("c", "d"),
  ];
  for (const variant of variants)
    for (const keys of ranges) await pair.both("range", { ...variant, ...keys });
});

test("a long range is read in parts, an ordinary one at once", async () => {
  const reads = (request: Request<"range">) => answeredAt(pair.shards, ["Range"], () => range(request));
  // The newest state of each shard, and the end of the timeline.
  assert.ok((await reads(ALL)) > 3 + 2);
  assert.ok((await reads(between("a", "b"))) > 2);
  for (const short of [between("c", "d"), { ...between("a", "b"), limit: 2 * PART_KEYS }])
    assert.ok((await reads(short)) <= 2);
});

for (const [name, keys] of [
  ["several shards", ALL],
  ["one shard", between("a", "b")],
] as const) {
  test(`a long range over ${name} is of one revision, whatever is written meanwhile`, async () => {
    let before: Response<"range"> | undefined;
    await range(keys);
    const call = interrupted(nothing, async () => {
      before = await pair.both("range", keys);
      await pair.both("put", put("a/9/new", name));
      await pair.both("deleteRange", between("a/5", "a/6/key-1"));
    });
    assert.deepEqual(comparable(await range(keys, call)), comparable(before));
  });

  test(`a long range over ${name} starts again where a compaction overtakes it`, async () => {
    await range(keys);
    const call = interrupted(nothing, async () => {
      const written = await pair.both("put", put("a/9/other", name));
      await pair.both("compact", { revision: written!.header!.revision, physical: true });
    });
    const response = await range(keys, call);
    assert.deepEqual(comparable(response), comparable(await pair.both("range", keys)));
  });

  test(`a long range over ${name} at a revision that is compacted meanwhile is refused`, async () => {
    const { revision } = (await pair.both("put", put("a/9/third", name)))!.header!;
    await range(keys);
    const call = interrupted(nothing, () =>
      pair.both("put", put("a/9/last", name)).then(() => pair.both("compact", { revision: revision + 1 })),
    );
    const ours = await outcome(range({ ...keys, revision }, call));
    assert.deepEqual(comparable(ours), comparable(await outcome(pair.plain("range", { ...keys, revision }))));
  });

  test(`a range over ${name} that was long takes its turn before it is read`, async () => {
    await range(keys);
    let read = 0;
    const call = interrupted(async () => {
      read = await answeredAt(pair.shards, ["Range"], () => pair.both("put", put("a/9/before", name)));
    });
    assert.deepEqual(comparable(await range(keys, call)), comparable(await pair.both("range", keys)));
    assert.equal(read, 0);
  });

  test(`a long range over ${name} that is cancelled reads no more`, async () => {
    await range(keys);
    const call = interrupted(nothing, () => call.cancel());
    let failure: unknown;
    const reads = await answeredAt(pair.shards, ["Range"], async () => {
      failure = await outcome(range(keys, call));
    });
    assert.ok(failure instanceof StatusError && failure.code === Code.CANCELLED);
    assert.equal(call.waiting, 0);
    assert.ok(reads <= 4, `${reads} reads`);
  });
}

test("a long range holds one part besides its response, however large its values are", async () => {
  const same = (revision: number) => revision;
  const whole = RangeResponse.decode(new Uint8Array(0));
  const kvs = Array.from({ length: 9_000 }, (_, i) => ({
    key: bytes(`key-${i}`),
    value: Buffer.alloc(i % 2 === 0 ? 100 : 3_000, "v"),
    createRevision: i + 2,
    modRevision: i + 2,
    version: 1,
    lease: 0n,
  })).sort((a, b) => Buffer.compare(a.key, b.key));
  let [reading, longest] = [0, 0];
  const read = async (shard: number, part: { key: Uint8Array; rangeEnd: Uint8Array; limit: number }) => {
    assert.equal(reading++, 0, "one part at a time");
    await new Promise(setImmediate);
    reading--;
    const mine = kvs.filter(
      ({ key }, i) =>
        i % 3 === shard && Buffer.compare(key, part.key) >= 0 && Buffer.compare(key, part.rangeEnd) < 0,
    );
    const [taken, more] = [mine.slice(0, part.limit), mine.length > part.limit];
    const response = RangeResponse.encode({ ...whole, kvs: taken, more, count: mine.length });
    if (shard >= 0 && part.limit !== 1_000) longest = Math.max(longest, response.length);
    return RangePart.of(response, same, shard);
  };
  const keys = between("key-", "key.");
  const merge = new RangeMerge(false, 4);
  const firstParts: RangePart[] = [];
  for (const shard of [0, 1, 2]) firstParts.push(await read(shard, { ...keys, limit: 1_000 }));
  for (const part of firstParts) {
    merge.count += part.count;
    merge.add(part);
  }
  let released = 0;
  const memory = {
    allocate: (size: number) => Buffer.alloc(size),
    release: ({ length }: Uint8Array) => {
      released += length;
    },
  };
  const long = { range: keys, limit: Number.POSITIVE_INFINITY, merge, firstParts, partKeys: 1_000, read };
  const response = await finishInParts(long, bytes(""), memory);
  assert.deepEqual(
    comparable(RangeResponse.decode(response)),
    comparable({ ...whole, kvs, count: kvs.length }),
  );
  assert.ok(longest < 1_000_000, `a part of ${longest} bytes`);
  assert.ok(released >= response.length, "all parts are released");
  assert.equal(text(kvs[0]!.key), "key-0");
});

test("first parts that would take much memory do not wait", async () => {
  const ranges = new LongRanges();
  let begin = () => {};
  const waiting = () => {
    const call: TestCall & { longTurn?: () => Promise<void> } = new TestCall(KV.Range);
    call.longTurn = () =>
      new Promise((resolve) => {
        begin = resolve;
      });
    return call;
  };
  const enter = async (size: number) => {
    const state = { isWaiting: true };
    const turn = ranges.turnOf(waiting(), size).then(() => {
      state.isWaiting = false;
    });
    await new Promise(setImmediate);
    return { state, turn };
  };
  const MIB = 1024 * 1024;
  const first = await enter(40 * MIB);
  const takeTurn = begin;
  assert.ok(first.state.isWaiting);
  assert.ok(!(await enter(40 * MIB)).state.isWaiting);
  assert.ok((await enter(20 * MIB)).state.isWaiting);
  takeTurn();
  await first.turn;
  assert.ok((await enter(40 * MIB)).state.isWaiting);
});

test("a range that was long is remembered, unless its bounds are long", () => {
  const ranges = new LongRanges();
  const request = RangeRequest.decode(RangeRequest.encode({}));
  const call: TestCall & { longTurn?: () => Promise<void> } = new TestCall(KV.Range);
  call.longTurn = async () => {};
  for (const length of [10, 10_000]) {
    const range = between("a".repeat(length), "b");
    ranges.note(range);
    assert.equal(ranges.mustWait(call, request, range), length === 10);
  }
});
