import assert from "node:assert/strict";
import { test } from "node:test";
import { firstPlacement } from "../../src/reshard/placement.js";
import type { Call } from "../../src/rpc/call.js";
import { createContext, type KvContext } from "../../src/services/kv/context.js";
import { visible } from "../../src/services/kv/keyspace.js";
import { isScan, scan } from "../../src/services/kv/scan.js";
import type { CallOptions, Done } from "../../src/shard/shard.js";
import { etcd } from "../../src/status/etcd.js";
import { EMPTY, RangeRequest, RangeResponse, SortOrder } from "../../src/wire/messages.js";
import { encodeHeader } from "../../src/wire/rewrite.js";
import { shardSet } from "../support/shardSet.js";
import {
  bytes,
  type Change,
  KEYS,
  PlainView,
  Random,
  randomWorld,
  rangeOf,
  seed,
  text,
  type World,
} from "./model.js";

/*
 * Scans over changing shards. The test knows the whole history of each shard. While a scan runs, each shard advances in its
 * history at random, and so does what the timeline has sealed.
 */
class LivingWorld {
  /** The shard revision that each shard has reached. */
  private readonly applied: number[];
  private readonly view: LivingView;
  readonly requests: RangeRequest[] = [];
  readonly context: KvContext;
  keysRead = 0;

  constructor(
    private readonly world: World,
    private readonly random: Random,
    sealed: number,
    /** Probability that something happens before each response. */
    private readonly liveliness: number,
  ) {
    this.view = new LivingView(world.shards.length, world.view.order, sealed);
    this.applied = world.shards.map((_, shard) => this.view.cut(shard));
    const timeline = {
      view: this.view,
      placementPosition: 0,
      placement: firstPlacement("", []),
      isSealed: (shard: number, revision: number) => revision <= this.view.cut(shard),
      seal: async (shard: number, revision: number) => {
        this.happen();
        while (revision > this.view.cut(shard)) this.sealNext();
      },
      sync: async () => this.happen(),
      beginScan: () => ({
        whenFolded: (done: () => void) => {
          this.happen();
          done();
        },
      }),
    };
    this.context = createContext({
      gen: { key: undefined, isOnAllShards: () => true },
      timeline: new Proxy(this.view, {
        get: (view, name) => Reflect.get(name in timeline ? timeline : view, name),
      }),
      shards: shardSet(world.shards).map((_, shard) => ({
        unary: (_path: string, request: Uint8Array, options: CallOptions, done: Done) => {
          void this.answer(shard, request, options, done);
          return () => {};
        },
        call: async () => this.range(shard, RangeRequest.decode(EMPTY), false),
      })),
      identity: { header: (revision: number) => encodeHeader(headerOf(revision)) },
      limits: { requestTimeoutMs: 1_000 },
    } as unknown as Parameters<typeof createContext>[0]);
  }

  get sealed(): number {
    return this.view.head;
  }

  private async answer(shard: number, bytes: Uint8Array, options: CallOptions, done: Done): Promise<void> {
    for (let hops = this.random.below(8); hops > 0; hops--) await undefined;
    this.happen();
    const request = RangeRequest.decode(bytes);
    this.requests.push(request);
    // A lagging member has an older state.
    const lags = options.mayLag === true && this.random.chance(0.2);
    try {
      done(undefined, this.range(shard, request, lags));
    } catch (reason) {
      done(reason as Parameters<Done>[0], EMPTY);
    }
  }

  private range(shard: number, request: RangeRequest, lags: boolean): Uint8Array {
    const applied = lags ? 1 + this.random.below(this.applied[shard]) : this.applied[shard];
    if (request.revision > applied) throw etcd.futureRevision();
    const response = rangeOf(this.world.shards[shard], applied, request);
    this.keysRead += response.kvs.length;
    return RangeResponse.encode({ ...response, header: headerOf(applied) });
  }

  private happen(): void {
    while (this.random.chance(this.liveliness)) {
      const shard = this.random.below(this.applied.length);
      const last = this.world.view.cut(shard);
      if (this.random.chance(0.5)) this.sealNext();
      else if (this.applied[shard] < last) this.applied[shard]++;
    }
  }

  private sealNext(): void {
    if (this.view.sealed > this.view.order.length) return;
    this.view.sealed++;
    this.applied.forEach((revision, shard) => {
      this.applied[shard] = Math.max(revision, this.view.cut(shard));
    });
  }
}

class LivingView extends PlainView {
  constructor(
    shards: number,
    order: readonly number[],
    public sealed: number,
  ) {
    super(shards, order);
  }

  override get head(): number {
    return this.sealed;
  }
}

const headerOf = (revision: number) => ({ clusterId: 1n, memberId: 1n, revision, raftTerm: 1 });

const CALL = {
  deadline: Number.POSITIVE_INFINITY,
  metadata: { get: () => undefined },
  cancelled: false,
  onCancel: () => () => {},
} as unknown as Call;

function run(living: LivingWorld, request: RangeRequest, partKeys?: number): Promise<Uint8Array> {
  const shards = living.context.shards.entries().map(([shard]) => shard);
  const range = visible(request)!;
  return scan(living.context, { call: CALL, request, range, shards, position: 0, partKeys });
}

const shown = ({ kvs, more, count }: RangeResponse) => ({
  more,
  count,
  kvs: kvs.map((kv) => ({ ...kv, key: text(kv.key), value: text(kv.value) })),
});

test("a scan returns the state of one revision from during the call, whatever happens on the shards", async () => {
  const start = seed();
  for (let n = 0; n < 400; n++) {
    const random = new Random(start + n);
    const revisions = 1 + random.below(60);
    const world = randomWorld(random, 2 + random.below(3), revisions);
    const living = new LivingWorld(world, random, 1 + random.below(revisions), random.pick([0, 0.3, 0.8]));
    for (let i = 0; i < 10; i++) {
      const before = living.sealed;
      const request = randomRequest(random, before);
      assert.ok(isScan(request));
      const partKeys = random.pick([undefined, 1, 2, 3]);
      const response = RangeResponse.decode(await run(living, request, partKeys));
      const { revision } = response.header!;
      const what = `SEED=${start + n}, scan ${i} at ${revision}, parts of ${partKeys}: ${JSON.stringify({ ...request, key: text(request.key), rangeEnd: text(request.rangeEnd) })}`;
      assert.ok(before <= revision && revision <= living.sealed, what);
      assert.deepEqual(shown(response), shown(rangeOf(world.whole, revision, request)), what);
      // Lets the next scan skip the read of the timeline's end, too.
      if (random.chance(0.5)) Object.assign(living.context.recentWrites, { until: 0 });
    }
  }
});

function randomRequest(random: Random, head: number): RangeRequest {
  const bound = () => (random.chance(0.85) ? 0 : random.below(head + 1) - 1);
  const countOnly = random.chance(0.1);
  return {
    ...RangeRequest.decode(EMPTY),
    key: bytes(random.pick([...KEYS, "\x01"])),
    rangeEnd: bytes(random.pick(["\0", "\0", "h\xff\xff", "i", random.pick(KEYS)])),
    limit: random.pick([0, 0, -1, 1, 2, 3, 5, 100]),
    revision: random.chance(0.7) ? 0 : 1 + random.below(head),
    sortOrder: random.pick([0, 0, 1, 2]),
    sortTarget: countOnly ? random.pick([0, 1, 4]) : 0,
    serializable: random.chance(0.2),
    keysOnly: random.chance(0.2),
    countOnly,
    minModRevision: bound(),
    maxModRevision: bound(),
    minCreateRevision: bound(),
    maxCreateRevision: bound(),
  };
}

/** A store of `count` keys. `shardOf` maps the number of a key to its shard. */
function filledWorld(count: number, shardOf: (n: number) => number): World {
  const order: number[] = [];
  const whole: Change[] = [];
  const shards: Change[][] = [[], [], []];
  for (let n = 0; n < count; n++) {
    const shard = shardOf(n);
    const change = { key: `key-${String(n).padStart(4, "0")}`, value: "v", lease: 0n };
    order.push(shard);
    whole.push({ ...change, revision: n + 2 });
    shards[shard].push({ ...change, revision: shards[shard].length + 2 });
  }
  return { view: new PlainView(3, order), whole, shards, shardOf: () => 0 };
}

test("a page reads little more from the shards than it returns, wherever its keys are", async () => {
  const random = new Random(seed());
  const count = 900;
  const even = filledWorld(count, () => random.below(3));
  const uneven = filledWorld(count, (n) => Math.floor(n / 300));
  for (const [world, most] of [
    [even, 410],
    [uneven, 600],
  ] as const) {
    for (const sortOrder of [SortOrder.NONE, SortOrder.ASCEND]) {
      const living = new LivingWorld(world, random, count + 1, 0);
      let rest = "key-";
      for (let pages = 0; ; pages++) {
        assert.ok(pages < 4);
        living.keysRead = 0;
        const request = { ...RangeRequest.decode(EMPTY), rangeEnd: bytes("key."), limit: 300, sortOrder };
        const page = { ...request, key: bytes(rest), revision: pages === 0 ? 0 : count + 1 };
        const response = RangeResponse.decode(await run(living, page));
        assert.ok(living.keysRead <= most, `${living.keysRead} keys for a page of ${response.kvs.length}`);
        assert.deepEqual(shown(response), shown(rangeOf(world.whole, count + 1, page)));
        if (!response.more) break;
        rest = `${text(response.kvs[response.kvs.length - 1].key)}\0`;
      }
    }
  }
});

test("without concurrent writes, each shard gets one request and the timeline none", async () => {
  const world = filledWorld(30, (n) => n % 3);
  const living = new LivingWorld(world, new Random(seed()), 31, 0);
  living.context.timeline.sync = () => assert.fail("read the timeline's end");
  const request = { ...RangeRequest.decode(EMPTY), key: bytes("k"), rangeEnd: bytes("l") };
  const response = RangeResponse.decode(await run(living, request));
  assert.deepEqual([response.count, response.header!.revision, living.requests.length], [30, 31, 3]);
  assert.ok(living.requests.every(({ serializable, revision }) => !serializable && revision === 0));
});
