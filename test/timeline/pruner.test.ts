import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { START } from "../../src/reshard/bound.js";
import type { Change } from "../../src/reshard/change.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import type { PartSizes } from "../../src/timeline/base.js";
import { compactedAt } from "../../src/timeline/compacted.js";
import { EtcdHost } from "../../src/timeline/etcdHost.js";
import { Pruner } from "../../src/timeline/pruner.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { TimelineLog } from "../../src/timeline/timelineLog.js";
import type { Seals } from "../../src/timeline/view.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import {
  CompactionRequest,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { peekHeader, peekRevision } from "../../src/wire/rewrite.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { shardSet } from "../support/shardSet.js";
import { until } from "../support/until.js";

/* The log in real etcds: truncation, bases of several parts, pruning, and what a new proxy reads of it. */

const silent = { debug() {}, info() {}, warn() {} };
const WRITE = { idempotent: false };
const READ = { idempotent: true };

class SmallLog extends TimelineLog {
  protected override drawLimit(): number {
    return 8;
  }
  protected override partSizes(): PartSizes {
    return { segments: 16, imports: 16, bytes: 64 };
  }
}

class SmallTimeline extends SharedTimeline {
  protected override createLog(...args: ConstructorParameters<typeof TimelineLog>): TimelineLog {
    return new SmallLog(...args);
  }
}

let etcds: EtcdProcess[];
let shards: ShardClient[];
let proxies = 0;

before(async () => {
  etcds = await startEtcds(2);
  shards = etcds.map(({ endpoint }, index) =>
    openShard({
      index,
      name: `shard${index}`,
      endpoints: [endpoint],
      requestTimeoutMs: 10_000,
      connectTimeoutMs: 5_000,
      log: silent,
    }),
  );
});

after(async () => {
  for (const shard of shards) shard.close();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

async function openTimeline(): Promise<SharedTimeline> {
  const timeline = new SmallTimeline(2, {
    host: new EtcdHost(shards[0]),
    hostShard: 0,
    hostOf: noOtherHost,
    proxy: `proxy${proxies++}`,
    map: mapText(2),
    maps: newMaps(),
    runtime: systemRuntime,
    genesis: async () => {
      const read = RangeRequest.encode({ key: Uint8Array.of(1) });
      const headers = await Promise.all(
        shards.map(async (shard) => peekHeader(await shard.call(KV.Range, read, READ))),
      );
      return {
        revisions: headers.map(({ revision }) => revision),
        clusterIds: headers.map(({ clusterId }) => `${clusterId}`),
      };
    },
    accept: () => {},
  });
  await timeline.open();
  return timeline;
}

async function write(timeline: SharedTimeline, shard: number, key: string): Promise<number> {
  const request = PutRequest.encode({ key: Buffer.from(key), value: Buffer.from("v") });
  const shardRevision = peekRevision(await shards[shard].call(KV.Put, request, WRITE));
  await timeline.seal(shard, shardRevision, true);
  return timeline.toRevision(shard, shardRevision);
}

/** The revision of each live key, as this timeline maps it. */
async function live(timeline: SharedTimeline): Promise<Map<string, number>> {
  const all = RangeRequest.encode({ key: Uint8Array.of(1), rangeEnd: Uint8Array.of(0) });
  const found = new Map<string, number>();
  for (const [index, shard] of shards.entries()) {
    for (const { key, modRevision } of RangeResponse.decode(await shard.call(KV.Range, all, READ)).kvs) {
      found.set(Buffer.from(key).toString(), timeline.toRevision(index, modRevision));
    }
  }
  return found;
}

test("pruning drops exactly the revisions that no key has any more", async () => {
  const timeline = await openTimeline();
  const pruner = new Pruner(timeline, shardSet(shards), systemRuntime, silent);
  const expected = new Map<string, number>();
  // Each write is on another shard than the previous one, so it makes a segment.
  for (let n = 0; n < 120; n++) {
    const key = n < 20 ? `old${n}` : `hot${n % 4}`;
    expected.set(key, await write(timeline, n % 2, key));
  }
  assert.equal(timeline.head, 121);
  assert.ok(timeline.log.base.epoch > 3, "the log was truncated");
  assert.ok(timeline.log.base.segmentParts.length > 2, "the base has several parts");

  // No client compacts through a proxy: the shards compact themselves.
  assert.deepEqual(await Promise.all(shards.map((shard) => compactedAt(shard, systemRuntime))), [0, 0]);
  await pruner.adoptCompaction();
  assert.equal(timeline.compactRevision, 0);
  const compacted = timeline.toRevision(1, timeline.lastAt(100, 1));
  for (const [index, shard] of shards.entries()) {
    const at = timeline.lastAt(100, index);
    await shard.call(KV.Compact, CompactionRequest.encode({ revision: at, physical: true }), WRITE);
    assert.equal(await compactedAt(shard, systemRuntime), at);
  }
  await pruner.adoptCompaction();
  assert.ok([compacted, 100, 99].includes(timeline.compactRevision));

  const before = timeline.log.fold.snapshot().table.count;
  const prunes = timeline.log.base.generation;
  assert.equal(await pruner.prune(), true);
  await until(
    "the pruned base is loaded",
    () => timeline.log.base.generation !== prunes && timeline.log.fold.snapshot().table.count < before,
  );
  const { count } = timeline.log.fold.snapshot().table;
  assert.ok(count <= 60, `${count} segments left of ${before}`);
  assert.deepEqual(await live(timeline), expected);

  // A proxy that joins now has the same revisions, and continues with the next one.
  const joined = await openTimeline();
  assert.equal(joined.head, 121);
  assert.equal(joined.compactRevision, timeline.compactRevision);
  assert.deepEqual(await live(joined), expected);
  for (let revision = timeline.compactRevision; revision <= 121; revision++) {
    for (const shard of [0, 1])
      assert.equal(joined.lastAt(revision, shard), timeline.lastAt(revision, shard));
  }
  assert.equal(await write(joined, 1, "next"), 122);
  assert.equal(await write(timeline, 0, "afterwards"), 123);
  pruner.stop();
  timeline.close();
  joined.close();
});

test("pruning drops the imports that no key shows any more, and spares a frozen step", async () => {
  const timeline = await openTimeline();
  const pruner = new Pruner(timeline, shardSet(shards), systemRuntime, silent);
  const propose = async (change: Change, seals?: Seals): Promise<number> => {
    const position = await timeline.proposeChange(change, seals);
    assert.ok(position !== undefined, `${change.kind} is valid`);
    return position;
  };
  const put = async (key: string): Promise<number> => {
    const request = PutRequest.encode({ key: Buffer.from(key), value: Buffer.from("v") });
    return peekRevision(await shards[1].call(KV.Put, request, WRITE));
  };
  const remove = async (key: string): Promise<void> => {
    const request = DeleteRangeRequest.encode({ key: Buffer.from(key) });
    await timeline.seal(1, peekRevision(await shards[1].call(KV.DeleteRange, request, WRITE)), true);
  };
  // Three imports on shard 1 stand for revisions that shard 0 made.
  const stands: number[] = [];
  for (const key of ["import0", "import1", "import2"]) stands.push(await write(timeline, 0, key));
  await propose({ kind: "plan", after: 0, map: mapText(1), shards: [] });
  const mover = await propose({ kind: "claim" });
  const imports = [await put("import0"), await put("import1"), await put("import2")];
  const to = Uint8Array.of(100);
  const freeze = await propose({ kind: "freeze", mover, plan: 1, cursor: START, to });
  await propose(
    {
      kind: "move",
      mover,
      freeze,
      sources: [{ shard: 0, stop: timeline.cut(0) }],
      destinations: [
        {
          shard: 1,
          ready: imports[2],
          twins: { shardRevisions: imports, revisions: stands },
          offsets: { lives: imports, offsets: [1, 2, 3] },
        },
      ],
      ended: [],
    },
    new Map([[1, imports[2]]]),
  );
  assert.deepEqual(
    imports.map((each) => timeline.toRevision(1, each)),
    stands,
  );
  // One of them is deleted. Another is deleted after the next freeze.
  await remove("import1");
  const next = await propose({ kind: "freeze", mover, plan: 1, cursor: to, to: null });
  const frozenAt = timeline.head;
  await remove("import2");
  const prune = async (expected: number[]) => {
    const { fold } = timeline.log;
    assert.ok(await timeline.compact(timeline.head));
    assert.equal(await pruner.prune(), true);
    await until("the pruned base is loaded", () => timeline.log.fold !== fold);
    const { twins, offsets } = timeline.placement;
    assert.deepEqual(twins.list(1).shardRevisions, expected);
    assert.deepEqual(offsets.list(1).lives, expected);
  };
  await prune([imports[0], imports[2]]);
  assert.equal(timeline.log.base.prunedAt, frozenAt);
  assert.equal(timeline.toRevision(1, imports[2]), stands[2]);
  await propose({ kind: "thaw", mover, freeze: next });
  await write(timeline, 0, "last");
  await prune([imports[0]]);
  pruner.stop();
  timeline.close();
});
