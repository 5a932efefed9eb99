import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  type Compare,
  type Init,
  RangeRequest,
  RangeResponse,
  type RequestOp,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import type { Stage } from "./manualMover.js";
import { bytes, text } from "./model.js";
import { MovingPair } from "./movingPair.js";
import { between, key, type Method, put, type Request } from "./pair.js";

/*
 * Keys move between the shards of two proxies, at whose every stage both must respond like a plain etcd that got the same
 * writes. The prefixes a, b and c are pinned to the shards 0, 1 and 2, and move to 1, 2 and 2; the others follow the hash.
 */

let pair: MovingPair;

before(async () => {
  pair = await MovingPair.open();
});
after(() => pair.close());

type Op = Init<RequestOp>;
const get = (request: object): Op => ({ kind: "range", request });
const set = (name: string, value = "", more: object = {}): Op => ({
  kind: "put",
  request: { ...put(name, value), ...more },
});
const del = (request: object): Op => ({ kind: "deleteRange", request });
const when = (name: string, fields: Partial<Compare>): Init<Compare> => ({ ...key(name), ...fields });

const EVERYTHING = between("\0", "\0");
const ALL = between("a", "d");
const RANGES = [
  EVERYTHING,
  ALL,
  key("a1"),
  key("b2"),
  key("x"),
  between("a", "b"),
  between("a2", "b2"),
  between("h", "i"),
];

/** Reads of all kinds, at all kinds of revisions up to `head`. */
function* reads(head: number, old: readonly number[]): Generator<[Method, Request<"range">]> {
  for (const range of RANGES) {
    for (const sortOrder of [0, 1, 2] as const) {
      for (const sortTarget of [0, 1, 2, 3, 4] as const) {
        for (const limit of [0, 2]) yield ["range", { ...range, sortOrder, sortTarget, limit }];
      }
    }
    for (const revision of [...old, -1, head, head + 1]) {
      yield ["range", { ...range, revision }];
      yield ["range", { ...range, revision, limit: 3, sortOrder: 2, sortTarget: 3 }];
      yield ["range", { ...range, revision, countOnly: true, serializable: true }];
      yield ["range", { ...range, minModRevision: revision }];
      yield ["range", { ...range, maxModRevision: revision, limit: 2 }];
      yield ["range", { ...range, minCreateRevision: revision, sortOrder: 2, sortTarget: 2 }];
      yield ["range", { ...range, maxCreateRevision: revision, keysOnly: true, sortTarget: 1 }];
    }
    yield ["range", { ...range, keysOnly: true, limit: 3 }];
    yield ["range", { ...range, serializable: true }];
    yield ["range", { ...range, countOnly: true }];
  }
}

/** Compares of all targets and results, and reads in transactions. */
function* transactions(head: number, old: readonly number[]): Generator<[Method, Request<"txn">]> {
  const near = [0, 1, ...old, head, head + 1];
  const operands: Partial<Compare>[] = [
    ...near.map((one) => ({ target: 1, createRevision: one }) as const),
    ...near.map((one) => ({ target: 2, modRevision: one }) as const),
    ...[0, 1, 2, 3, 4].map((version) => ({ target: 0, version }) as const),
    { target: 3, value: bytes("one") },
    { target: 4, lease: 77n },
  ];
  const ranges = [key("a1"), key("a2"), key("b2"), key("missing"), between("a", "b"), between("h", "i"), ALL];
  for (const operand of operands) {
    for (const result of [0, 1, 2, 3] as const) {
      for (const range of ranges) {
        const compare = [{ ...operand, result, ...range }];
        yield ["txn", { compare }];
      }
    }
  }
  for (const revision of old) {
    yield ["txn", { success: [get({ ...between("a", "b"), revision }), get(key("a1"))] }];
    yield ["txn", { success: [get({ ...key("a1"), revision, serializable: true })] }];
    yield ["txn", { success: [get({ ...ALL, minModRevision: revision, sortTarget: 1, sortOrder: 2 })] }];
  }
}

/** Everything that reads, through both proxies. */
async function checkReads(old: readonly number[] = revisions()): Promise<void> {
  // Serializable reads need not show the newest revision to a proxy that was not told of it yet.
  for (const proxy of [0, 1]) await pair.both("range", key("a1"), proxy);
  const requests = [...reads(pair.head, old), ...transactions(pair.head, old)];
  for (let at = 0; at < requests.length; at += 50) {
    const some = requests.slice(at, at + 50);
    await Promise.all(some.map(([method, request]) => pair.both(method, request, turn())));
  }
}

let turns = 0;
const turn = (): number => turns++ % 2;

/** Old revisions that matter: some from before all moves, and some near the head. */
const revisions = (): number[] => [2, 5, 9, pair.head - 3, pair.head - 1].filter((one) => one > lowest);
let lowest = 0;

/** Writes of all kinds, with what they return. */
async function write(tag: string): Promise<void> {
  const both = (method: Method, request: object) => pair.both(method, request as never, turn());
  await both("put", { ...put("a1", tag), prevKv: true });
  await both("put", { ...put("h/4", tag), prevKv: true });
  await both("put", { ...put("b2", tag), prevKv: true });
  const { head } = pair;
  const mods = await pair.plain("range", key("a1"));
  const [{ modRevision, createRevision, version }] = mods.kvs;
  await both("txn", {
    compare: [when("a1", { target: 2, result: 0, modRevision })],
    success: [set("a2", `${tag} swapped`, { prevKv: true }), get(between("a", "b"))],
    failure: [get(key("a1"))],
  });
  await both("txn", {
    compare: [when("a1", { target: 2, result: 0, modRevision: modRevision - 1 })],
    success: [set("a1", "wrong")],
    failure: [get({ ...between("a", "b"), sortOrder: 2, sortTarget: 2 })],
  });
  await both("txn", {
    compare: [
      when("a1", { target: 0, result: 0, version }),
      when("a1", { target: 1, result: 2, createRevision: createRevision + 1 }),
      { ...between("a", "b"), target: 2, result: 2, modRevision: head + 2 },
    ],
    success: [
      set("a3", `${tag} by version`),
      get({ ...between("a", "b"), minModRevision: 3, sortTarget: 3 }),
    ],
    failure: [del(between("a", "b"))],
  });
  await both("txn", {
    compare: [when("a1", { target: 0, result: 1, version })],
    success: [set("a1", "wrong")],
    failure: [
      get({ ...between("a", "b"), revision: head - 1 }),
      set("a4", tag),
      del({ ...key("a3"), prevKv: true }),
    ],
  });
  await both("txn", {
    compare: [when("a1", { target: 2, result: 2, modRevision: 3 })],
    success: [
      {
        kind: "txn",
        request: {
          compare: [when("a2", { target: 0, result: 2, version: 1 })],
          success: [set("a5", tag), get(key("a2"))],
        },
      },
    ],
  });
  // As many operations as etcd takes by default, while the proxy has to make sure that several keys stay as they are.
  const many = Array.from({ length: 127 }, () => get({ ...key("a1"), countOnly: true }));
  for (const result of [0, 1] as const) {
    const evaluatedFirst = [
      when("a2", { target: 2, result: 2, modRevision: 3 }),
      when("a1", { target: 0, result, version }),
    ];
    for (const evaluatedByShard of [[], [when("a8x", { target: 3, result: 3, value: bytes("other") })]]) {
      await both("txn", {
        compare: [...evaluatedByShard, ...evaluatedFirst],
        success: [...many, set("a4", "equal")],
        failure: [set("a4", "not equal"), ...many],
      });
    }
  }
  await both("deleteRange", { ...key("a5"), prevKv: true });
  await both("deleteRange", { ...key("nothing"), prevKv: true });
  await both("deleteRange", { ...between("h/x", "h/y"), prevKv: true });
  // Of several shards, one of which may hold copies or leftovers.
  await both("deleteRange", turn() ? between("a8x", "b2") : { ...between("a8x", "b2"), prevKv: true });
  for (const name of ["a8x", "b1"]) await both("put", put(name, tag));
}

/** No range ever has more than 12 keys: etcd's sort is stable only up to that number. */
async function fill(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const name of ["a1", "a8x", "c1", "a2", "b1", "b2", "h/1", "h/3"]) {
      if (round < 2 || name < "b") await pair.both("put", put(name, `${name} ${round}`));
    }
    await pair.both("deleteRange", key("h/3"));
  }
  // Keys that share their revision need several imports, which stand for it.
  await pair.both("txn", { success: ["a6", "a7", "a8"].map((name) => set(name, "one")) });
  await pair.both("txn", { success: ["a7", "a8"].map((name) => set(name, "two")) });
  await pair.both("grant", { id: 77n, ttl: 3_600 });
  await pair.both("put", put("a2", "leased", 77n));
}

/** Pages through all keys at one revision, as a client that continues a list. */
class Pages {
  private from = "a";
  private revision = 0;

  async next(): Promise<void> {
    const page = await pair.both(
      "range",
      { ...between(this.from, "i"), limit: 2, revision: this.revision },
      turn(),
    );
    assert.ok(page !== undefined);
    this.revision ||= page.header!.revision;
    const last = page.kvs.at(-1);
    this.from = last === undefined ? "a" : `${text(last.key)}\0`;
  }
}

test("reads and writes at every stage of a plan", async () => {
  await fill();
  await checkReads();
  const pages = new Pages();
  await pages.next();
  await pair.mover.plan(await pair.map([1, 2, 2], [1, 1, 3]));
  await checkReads();
  await write("planned");
  const stages = async (stage: Stage) => {
    if (stage === "frozen" || stage === "ready") return;
    await write(stage);
    await pages.next();
    await checkReads();
  };
  await pair.mover.step(bytes("b"), stages);
  await pair.mover.step(bytes("c"), stages);
  await pair.mover.step(null, stages);
  await pair.mover.finish();
  await write("done");
  await checkReads();
});

test("a compare of a revision for which several imports stand", async () => {
  // With its one revision, one of the keys shares a transaction with another, and one does not.
  const { kvs } = await pair.plain("range", between("a6", "a9"));
  for (const { key: name, createRevision, modRevision } of kvs) {
    const keyed = { key: name };
    const created = { ...keyed, target: 1, result: 0, createRevision } as const;
    for (const result of [0, 3] as const) {
      await pair.both("txn", { compare: [{ ...created, result }], success: [get(keyed)] });
      await pair.both("txn", {
        compare: [
          { ...created, result },
          { ...keyed, target: 2, result: 0, modRevision },
        ],
        success: [set("a6", "never")],
        failure: [get(keyed), set("a4", "failed")],
      });
    }
    const swap = { ...keyed, target: 2, result: 0, modRevision } as const;
    const value = bytes("swapped");
    await pair.both("txn", {
      compare: [created, swap],
      success: [{ kind: "put", request: { ...keyed, value } }],
    });
    await pair.both("txn", { compare: [swap], success: [set("a6", "never")], failure: [get(keyed)] });
  }
});

test("a plan that turns back, with old revisions from before and between its moves", async () => {
  await pair.mover.plan(await pair.map([0, 1, 2]));
  await pair.mover.step(bytes("b"));
  await write("before the turn");
  await pair.mover.turnBack();
  await checkReads();
  await pair.mover.step(Uint8Array.of(1), async (stage) => {
    if (stage !== "moved") return;
    await write("turned back");
    await checkReads();
  });
  await pair.mover.finish();
  await checkReads();
});

/** Calls for keys with an "a", of several kinds, that write nothing. */
const CALLS: readonly [string, Method, object][] = [
  ["a key", "range", key("a1")],
  ["a key that does not exist", "range", key("a~")],
  ["a range on one shard", "range", between("a", "b")],
  ["a range with a limit on one shard", "range", { ...between("a", "b"), limit: 2 }],
  ["a range over several shards", "range", ALL],
  ["a range over two shards", "range", between("a", "c")],
  ["a sorted range over two shards", "range", { ...between("a", "c"), sortOrder: 1, sortTarget: 3 }],
  ["a sorted range", "range", { ...ALL, sortOrder: 2, sortTarget: 2, limit: 3 }],
  ["a transaction that reads", "txn", { success: [get(key("a1")), get(between("a", "b"))] }],
  ["a transaction that reads several shards", "txn", { success: [get(key("a1")), get(key("b2"))] }],
  [
    "a compare that fails",
    "txn",
    { compare: [when("a1", { target: 2, modRevision: 3 })], success: [set("a1")] },
  ],
  [
    "a compare that is read first",
    "txn",
    { compare: [when("a1", { target: 0, version: 1 })], success: [set("a1")] },
  ],
  ["a deletion of nothing", "deleteRange", between("a~", "a~~")],
  ["a deletion of nothing on several shards", "deleteRange", { ...between("a~", "b/"), prevKv: true }],
];

/** Calls of `CALLS` that are under way through both proxies. */
class Underway {
  readonly settled: string[] = [];
  private readonly calls: { method: Method; request: object; response: Promise<unknown> }[] = [];

  constructor() {
    for (const [name, method, request] of CALLS) {
      const response = pair.ours(method, request as never, 1);
      response.then(() => this.settled.push(name));
      this.calls.push({ method, request, response });
    }
  }

  /** Compares all responses with what the plain etcd responds now. A response may be from a revision before that. */
  async compare(): Promise<void> {
    for (const { method, request, response } of this.calls)
      await pair.compareData(method, request as never, (await response) as never);
  }
}

test("calls to a frozen step wait, others do not", async () => {
  await pair.mover.plan(await pair.map([0, 1, 2]));
  let underway: Underway | undefined;
  await pair.mover.step(bytes("b"), async (stage) => {
    if (stage !== "frozen" && stage !== "ready") return;
    // Other keys and old revisions. The first put is above the freeze; the state up to it may be read.
    await pair.both("put", put("h/4", stage), 1);
    underway ??= new Underway();
    await pair.both("put", put("h/4", `${stage} again`), 1);
    for (const range of [key("a1"), ALL]) {
      for (const revision of [pair.head - 5, pair.head - 4])
        await pair.both("range", { ...range, revision }, 1);
    }
    // Serializable reads have the state at the freeze.
    for (const range of [key("a1"), between("a", "b"), ALL]) {
      const { kvs, header } = await pair.proxies[1].ask("range", { ...range, serializable: true });
      const { responses } = await pair.proxies[1].ask("txn", {
        success: [get({ ...range, serializable: true })],
      });
      const { revision } = pair.proxies[1].store.timeline.placement.plan!.frozen!;
      const past = await pair.proxies[1].ask("range", { ...range, revision });
      assert.deepEqual(kvs, past.kvs);
      assert.deepEqual(
        responses.flatMap((each) => (each.kind === "range" ? each.response.kvs : [])),
        kvs,
      );
      assert.ok(header!.revision <= revision, `${text(range.key)} ${header!.revision} ${revision}`);
    }
    assert.deepEqual(underway.settled, []);
  });
  await underway?.compare();
  await pair.mover.freezeOnly(bytes("h/3"), async () => {
    await pair.both("range", key("a1"), 1);
  });
  await pair.mover.step(null);
  await pair.mover.finish();
  await checkReads();
});

test("writes to a frozen step wait until a thaw or the move", async () => {
  await pair.mover.plan(await pair.map([1, 1, 2]));
  const writes: [Method, object][] = [
    ["put", { ...put("a1", "while frozen"), prevKv: true }],
    ["txn", { compare: [when("a1", { target: 0, result: 1, version: 0 })], success: [set("a2", "frozen")] }],
    ["deleteRange", { ...between("a3", "a5"), prevKv: true }],
    ["deleteRange", { ...between("a7", "b0"), prevKv: true }],
  ];
  for (const [index, [method, request]] of writes.entries()) {
    let isSettled = false;
    let response: Promise<unknown> | undefined;
    const begin = async () => {
      // The entry of this put comes after the freeze, so the proxy knows of it.
      await pair.both("put", put("c2", `${index}`), 1);
      response ??= pair.ours(method, request as never, 1).finally(() => {
        isSettled = true;
      });
      await pair.both("put", put("c1", `${index}`), 1);
      assert.ok(!isSettled, method);
    };
    if (index < writes.length - 1) await pair.mover.freezeOnly(bytes("b"), begin);
    else await pair.mover.step(bytes("b"), (stage) => (stage === "ready" ? begin() : Promise.resolve()));
    await pair.compareWith(method, request as never, (await response) as never);
  }
  await checkReads();
  await pair.mover.step(null);
  await pair.mover.finish();
});

/** Keeps all requests to shards through a proxy from leaving, until they are released. */
function hold({ store }: MovingPair["proxies"][number]) {
  const held: (() => void)[] = [];
  const shards = store.shards.all();
  const sending = shards.map(({ unary }) => unary);
  for (const shard of shards) {
    const { unary } = shard;
    shard.unary = (...args) => {
      held.push(() => unary.apply(shard, args));
      return () => {};
    };
  }
  return {
    async until(count: number): Promise<void> {
      while (held.length < count) await new Promise((resolve) => setImmediate(resolve));
    },
    release(): void {
      for (const [index, shard] of shards.entries()) shard.unary = sending[index];
      for (const send of held) send();
    },
  };
}

test("a call that is sent before a step, and reaches its shard after it, begins again", async () => {
  await pair.mover.plan(await pair.map([0, 1, 2]));
  const held = hold(pair.proxies[1]);
  const underway = new Underway();
  await held.until(8);
  await pair.mover.step(bytes("b"));
  held.release();
  await underway.compare();
  await pair.mover.step(null);
  // A scan of a store without a plan, which is answered during one.
  const again = hold(pair.proxies[1]);
  await pair.mover.finish();
  again.release();
  for (const name of ["a1", "b2"]) await pair.both("put", put(name, "after"), turn());
  const calm = hold(pair.proxies[1]);
  const next = new Underway();
  await calm.until(8);
  await pair.mover.plan(await pair.map([2, 0, 2]));
  await pair.mover.step(bytes("b"));
  await pair.mover.step(bytes("c"));
  calm.release();
  await next.compare();
  await pair.mover.step(null);
  await pair.mover.finish();
  await checkReads();
});

test("a call that reaches its shard after its keys have moved away and back begins again", async () => {
  // A key without imports, then one with.
  for (const round of ["first", "second"]) {
    const name = `a${round}`;
    for (let i = 0; i < 2; i++) await pair.both("put", put(name, round));
    const [{ modRevision, createRevision, version }] = (await pair.plain("range", key(name))).kvs;
    const calls: readonly (readonly [Method, object])[] = [
      ["txn", { compare: [when(name, { target: 2, result: 0, modRevision })], success: [get(key(name))] }],
      ["txn", { compare: [when(name, { target: 2, result: 3, modRevision })], success: [get(key(name))] }],
      ["txn", { compare: [when(name, { target: 1, result: 0, createRevision })], success: [get(key(name))] }],
      ["txn", { compare: [when(name, { target: 0, result: 0, version })], success: [get(key(name))] }],
      ["txn", { success: [get({ ...key(name), minModRevision: modRevision, maxModRevision: modRevision })] }],
      ["range", { ...key(name), minModRevision: modRevision, maxModRevision: modRevision }],
      ["range", { ...key(name), minCreateRevision: createRevision, maxCreateRevision: createRevision }],
      ["range", { ...between("a", "b"), sortOrder: 1, sortTarget: 3 }],
    ];
    const held = hold(pair.proxies[1]);
    const underway = calls.map(([method, request]) => pair.ours(method, request as never, 1));
    await held.until(calls.length);
    await pair.mover.plan(await pair.map([1, 0, 2]));
    await pair.mover.step(bytes("b"));
    await pair.mover.turnBack();
    await pair.mover.step(Uint8Array.of(1));
    await pair.mover.finish();
    held.release();
    for (const [i, [method, request]] of calls.entries())
      await pair.compareData(method, request as never, (await underway[i]) as never);
  }
});

test("a compare that was read first does not hold once its key has changed", async () => {
  const change: readonly (readonly [Method, object])[] = [
    ["put", put("a1", "changed")],
    ["deleteRange", key("a1")],
    ["put", put("a1", "new")],
  ];
  for (const [method, request] of change) {
    const [before] = (await pair.plain("range", key("a1"))).kvs;
    const txn = {
      compare: [
        when("a1", { target: 0, result: before === undefined ? 2 : 0, version: before?.version ?? 5 }),
      ],
      success: [set("a2", "not changed"), get(key("a1"))],
      failure: [set("a2", "changed"), get(key("a1"))],
    };
    const undo = afterRange(pair.proxies[1], () => pair.both(method, request as never, 0));
    const response = await pair.ours("txn", txn, 1);
    undo();
    await pair.compareWith("txn", txn, response);
  }
  // A new key in the range of a compare that all others meet.
  await pair.both("put", put("c1", "later"));
  const txn = {
    compare: [{ ...between("a", "b"), target: 1, result: 2, createRevision: pair.head } as const],
    success: [set("a2", "no new key")],
    failure: [set("a2", "a new key")],
  };
  const undo = afterRange(pair.proxies[1], () => pair.both("put", put("a0", "new"), 0));
  const response = await pair.ours("txn", txn, 1);
  undo();
  await pair.compareWith("txn", txn, response);
  await pair.both("deleteRange", key("a0"));
});

test("compares of values and leases that the proxy evaluates, because the shard has no room for them", async () => {
  await pair.both("grant", { id: 78n, ttl: 3_600 });
  for (let i = 0; i < 2; i++) await pair.both("put", put("a/leased", `${i}`, 78n));
  await pair.mover.plan(await pair.map([1, 0, 2]));
  await pair.mover.step(bytes("b"));
  await pair.mover.turnBack();
  await pair.mover.step(Uint8Array.of(1));
  await pair.mover.finish();
  const many = Array.from({ length: 127 }, () => get({ ...key("a/leased"), countOnly: true }));
  const left: Partial<Compare>[] = [
    { target: 3, value: bytes("1") },
    { target: 3, value: bytes("2") },
    { target: 4, lease: 78n },
    { target: 4, lease: 79n },
  ];
  for (const reads of ["all", "no leases"]) {
    const undo = reads === "all" ? () => {} : withoutLeases(pair.proxies[1]);
    for (const one of left) {
      const compare = [when("a/leased", one), when("a/leased", { target: 0, result: 1, version: 1 })];
      const success = [...many, set("a/is", "so")];
      await pair.both("txn", { compare, success, failure: [set("a/is", "not so")] }, 1);
    }
    undo();
  }
  await pair.both("deleteRange", between("a/", "a0"));
});

/** Leaves out leases where a proxy reads only keys, as etcd 3.7 does. Returns a function that ends this. */
function withoutLeases({ store }: MovingPair["proxies"][number]): () => void {
  const shards = store.shards.all();
  const sending = shards.map(({ unary }) => unary);
  for (const shard of shards) {
    const { unary } = shard;
    shard.unary = (path, request, options, done) =>
      unary.call(shard, path, request, options, (error, response) => {
        if (error !== undefined || path !== KV.Range || !RangeRequest.decode(request).keysOnly)
          return done(error, response);
        const answer = RangeResponse.decode(response);
        const kvs = answer.kvs.map((kv) => ({ ...kv, lease: 0n }));
        done(undefined, RangeResponse.encode({ ...answer, kvs }));
      });
  }
  return () => {
    for (const [index, shard] of shards.entries()) shard.unary = sending[index];
  };
}

/** Runs `action` before a proxy gets the response to its next KV.Range from a shard. Returns a function that checks that. */
function afterRange({ store }: MovingPair["proxies"][number], action: () => Promise<unknown>): () => void {
  const shards = store.shards.all();
  const sending = shards.map(({ unary }) => unary);
  let isDue = true;
  for (const shard of shards) {
    const { unary } = shard;
    shard.unary = (path, request, options, done) => {
      if (path !== KV.Range || !isDue) return unary.call(shard, path, request, options, done);
      isDue = false;
      return unary.call(shard, path, request, options, (error, response) => {
        void action().then(() => done(error, response));
      });
    };
  }
  return () => {
    for (const [index, shard] of shards.entries()) shard.unary = sending[index];
    assert.ok(!isDue, "the proxy has read first");
  };
}

test("ranges of several pages, while foreign keys are in between", async () => {
  const keys = Array.from({ length: 1_500 }, (_, i) => `b/${`${i}`.padStart(4, "0")}`);
  for (let at = 0; at < keys.length; at += 100) {
    await pair.both("txn", { success: keys.slice(at, at + 100).map((name) => set(name, name)) }, turn());
  }
  const range = between("b/", "c");
  const check = async () => {
    for (const more of [
      {},
      { limit: 2 },
      { limit: 700 },
      { limit: 700, sortOrder: 2 },
      { limit: 1_499, keysOnly: true },
    ]) {
      for (const revision of [0, pair.head - 3])
        await pair.both("range", { ...range, ...more, revision } as Request<"range">, turn());
    }
    await pair.both("range", { ...range, minModRevision: pair.head - 3, sortOrder: 2, countOnly: false });
    await pair.both("range", { ...between("b/0700", "c"), limit: 10, revision: pair.head - 3 }, turn());
  };
  await pair.mover.plan(await pair.map([0, 2, 2]));
  await pair.mover.step(null, async (stage) => {
    if (stage === "frozen" || stage === "ready") return;
    await pair.both("deleteRange", between("b/0100", "b/0105"), turn());
    await check();
  });
  await pair.mover.finish();
  await check();
  await pair.both("deleteRange", range);
});

test("compactions during and after a plan", async () => {
  await pair.mover.plan(await pair.map([0, 1, 2]));
  await write("before");
  await pair.mover.step(bytes("b"), async (stage) => {
    if (stage === "frozen") await pair.compact(pair.head - 3);
    // A revision between the freeze and M, on a source.
    if (stage === "ready") await pair.both("put", put("c1", "not moved"));
    if (stage === "moved") await pair.compact(pair.head);
    if (stage === "moved" || stage === "cleaned") {
      lowest = stage === "moved" ? pair.head - 1 : lowest;
      await checkReads();
      await write(stage);
      await checkReads([lowest + 1, lowest, pair.head - 1, 2]);
    }
  });
  await pair.mover.step(null);
  await pair.mover.finish();
  await write("finished");
  await checkReads([lowest + 1, lowest, pair.head - 1]);
  lowest = pair.head - 1;
  await pair.compact(pair.head);
  await checkReads([lowest + 1, lowest]);
  await write("compacted");
  await checkReads();
});

test("clients that count by compare and swap lose nothing while their keys move back and forth", async () => {
  const names = ["a/count1", "a/count2"];
  let isOver = false;
  let counted = 0;
  const count = async (client: number) => {
    const { ask } = pair.proxies[client % 2];
    const name = names[client % names.length];
    let newest = 0;
    while (!isOver) {
      const { kvs, header } = await ask("range", key(name));
      assert.ok(header!.revision >= newest, "revisions never go back");
      const value = kvs.length === 0 ? 0 : Number(text(kvs[0].value));
      // By mod revision or by version, which has to be read first on a shard with imports.
      const { modRevision, version } = kvs[0] ?? { modRevision: 0, version: 0 };
      const by = client < 2 ? { target: 2 as const, modRevision } : { target: 0 as const, version };
      const swapped = await ask("txn", {
        compare: [when(name, by)],
        success: [set(name, `${value + 1}`)],
        failure: [get(key(name))],
      });
      newest = swapped.header!.revision;
      if (swapped.succeeded) counted++;
      const [again] = (await ask("range", between(name, `${name}0`))).kvs;
      assert.ok(Number(text(again.value)) >= value + (swapped.succeeded ? 1 : 0), "a read misses a write");
      assert.equal(again.version, Number(text(again.value)), "every version is one count");
    }
  };
  const clients = [0, 1, 2, 3].map(count);
  for (const places of [
    [1, 1, 2],
    [2, 1, 2],
    [0, 1, 2],
  ]) {
    await pair.mover.plan(await pair.map(places));
    await pair.mover.step(bytes("b"));
    await pair.mover.step(null);
    await pair.mover.finish();
  }
  isOver = true;
  await Promise.all(clients);
  const { kvs } = await pair.proxies[0].ask("range", between("a/", "a0"));
  assert.equal(
    kvs.reduce((sum, kv) => sum + Number(text(kv.value)), 0),
    counted,
  );
  assert.ok(counted > 20, `${counted} writes`);
});
