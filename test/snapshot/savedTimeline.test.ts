import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { saveSnapshot } from "../../src/snapshot/save.js";
import { decodeTimeline, encodeTimeline, restoredLog } from "../../src/snapshot/savedTimeline.js";
import type { Base } from "../../src/timeline/base.js";
import { placementOf } from "../../src/timeline/base.js";
import type { FoldState } from "../../src/timeline/fold.js";
import { findBase, recover } from "../../src/timeline/recover.js";
import { SegmentTable } from "../../src/timeline/segments.js";
import { StoreFold, type StoreState } from "../../src/timeline/storeFold.js";
import type { SharedTimeline } from "../../src/timeline/timeline.js";
import { temporaryFolder } from "../support/braid.js";
import { mapText } from "../support/maps.js";

const SHARDS = 3;
const HOST = 1;
const STORE = "00000000000000ab";
const MARK = { key: Buffer.from("a mark"), value: Buffer.from("its value") };

/** A long history that goes from shard to shard, with hidden revisions of the host and many placed leases. */
function history(): { base: Base; state: FoldState } {
  const table = new SegmentTable(SHARDS);
  const cut = [1, 1, 1];
  let revision = 1;
  for (let i = 0; i < 30_000; i++) {
    const shard = (i * i) % SHARDS;
    const length = 1 + (i % 4);
    if (shard === HOST) cut[shard]!++; // the log's own
    table.append(revision + 1, shard, cut[shard]! + 1, length);
    revision += length;
    cut[shard]! += length;
  }
  const placements = new Map<bigint, Set<number>>();
  for (let i = 1n; i < 100_000n; i++) placements.set(i, new Set([Number(i % 3n), 2]));
  const base = {
    format: 1 as const,
    epoch: 7,
    covers: 12_345,
    segmentParts: ["parts", "elsewhere"],
    segmentsInParts: 16_384,
    generation: 3,
    prunedCount: 10,
    prunedAt: 5,
    map: mapText(SHARDS),
    clusterIds: ["1", "2", "3"],
  };
  const hidden = [cut[HOST]! + 2, cut[HOST]! + 5];
  return {
    base,
    state: { revision, cut, hidden, compactRevision: 99, raftTerm: 4, placements, table, sole: false },
  };
}

const storeOf = ({ map, clusterIds }: Base, timeline: FoldState): StoreState => ({
  timeline,
  placement: placementOf(map, clusterIds),
  positionOffset: 0,
});

/** Index of a shard and id of its new cluster. */
const NEW_IDS = [
  [0, "4"],
  [1, "5"],
  [2, "6"],
] as const;

/** What a proxy makes of the keys that a restore puts at `hostRevision`. */
function opened(
  saved: { base: Base; state: StoreState },
  hostRevision: number,
  bumpRevision: number,
  ids: readonly (readonly [number, string])[] = NEW_IDS,
) {
  const restored = {
    hostShard: HOST,
    hostRevision,
    clusterIds: new Map(ids),
    bumpRevision,
    store: STORE,
    mark: MARK,
  };
  const keys = restoredLog(saved, restored).map(({ key, value }) => ({
    key: Buffer.from(key).toString("latin1"),
    value,
    createRevision: hostRevision,
    modRevision: hostRevision,
  }));
  return { keys, ...recover(findBase(keys)!, keys, HOST, hostRevision) };
}

test("a timeline too large for one key is restored with every revision", () => {
  const { base, state } = history();
  const saved = decodeTimeline(encodeTimeline(base, storeOf(base, state)));
  const hostRevision = state.cut[HOST]! + 1;
  const { keys, fold, base: newBase, entries } = opened(saved, hostRevision, 0);
  assert.ok(keys.length > 4 && keys.every(({ value }) => value.length <= 600_000));
  assert.deepEqual(
    [newBase.map, newBase.clusterIds, newBase.epoch > 7],
    [mapText(SHARDS), ["4", "5", "6"], true],
  );
  assert.equal(newBase.store, STORE);
  assert.ok(keys.some(({ key }) => key === "a mark"));
  assert.deepEqual(entries, []);
  assert.equal(fold.head, state.revision);
  assert.equal(fold.compactRevision, 99);
  assert.deepEqual(
    [0, 1, 2].map((shard) => fold.cut(shard)),
    [state.cut[0]! + 1, hostRevision, state.cut[2]! + 1],
  );
  assert.deepEqual(fold.placements, state.placements);
  for (let index = 0; index < state.table.count; index++) {
    const run = state.table.at(index);
    assert.equal(fold.toRevision(run.shard, run.shardRevision), run.revision);
    assert.deepEqual(fold.runAt(run.revision), run);
  }
});

test("revisions are left out: what follows is above them, what was before counts as compacted", () => {
  const { base, state } = history();
  const saved = decodeTimeline(encodeTimeline(base, storeOf(base, state)));
  const hostRevision = state.cut[HOST]! + 1;
  const { fold } = opened(saved, hostRevision, 1_000_000_000);
  const head = state.revision + 1_000_000_000;
  assert.equal(fold.head, head);
  assert.equal(fold.compactRevision, head);
  assert.equal(fold.runAt(head).shard, -1);
  assert.throws(() => fold.runAt(head - 1), RangeError);
  // The shard's mark.
  const marked = state.cut[0]! + 1;
  assert.equal(fold.cutAt(head, 0), marked);
  assert.equal(fold.readRevision(0, marked), head);
  const reached = new Map([[0, marked + 2]]);
  fold.apply({ reached, compact: 0, leases: [], raftTerm: 0 }, hostRevision + 1);
  assert.equal(fold.head, head + 2);
  assert.equal(fold.toRevision(0, marked + 1), head + 1);
  assert.equal(fold.cut(HOST), hostRevision + 1);
  const last = state.table.at(state.table.count - 1);
  assert.equal(fold.toRevision(last.shard, last.shardRevision), last.revision);
});

/** A store whose keys were moved twice: the first move is compacted, the second is not. */
function moved(): { base: Base; state: StoreState } {
  const { base, state } = history();
  const placement = placementOf(mapText(SHARDS), ["1", "2", "3"]);
  const move = (revision: number) => ({
    revision,
    freeze: 40,
    frozenAt: revision - 1,
    from: Uint8Array.of(1),
    to: null,
    source: mapText(SHARDS),
    destination: mapText(2),
    stops: new Map([[2, 100]]),
    readies: new Map([[0, 100]]),
    ended: [],
  });
  placement.moves = [move(50), move(150)];
  placement.plans = 1;
  placement.inForce = mapText(2);
  placement.mover = 30;
  placement.position = 10_000_000;
  placement.twins.add(0, { shardRevisions: [200, 201], revisions: [120, 121] });
  placement.offsets.add(0, { lives: [200], offsets: [3] });
  return { base: { ...base, format: 2 }, state: { ...storeOf(base, state), placement } };
}

test("a snapshot keeps the placement", () => {
  const { base, state } = moved();
  const saved = decodeTimeline(encodeTimeline(base, state));
  const hostRevision = state.timeline.cut[HOST]! + 1;
  const { fold, base: newBase } = opened(saved, hostRevision, 0);
  const { placement } = fold.store;
  assert.equal(newBase.format, 2);
  assert.equal(placement.inForce, mapText(2));
  // The timeline is compacted at 99.
  assert.deepEqual(
    placement.moves.map(({ revision }) => revision),
    [150],
  );
  assert.deepEqual([fold.toRevision(0, 200), fold.versionOffset(0, 200)], [120, 3]);
  assert.deepEqual(
    placement.shards.map(({ clusterId }) => clusterId),
    ["4", "5", "6"],
  );
  assert.ok(fold.positionOf(hostRevision + 1) > placement.position, "positions keep rising");
  assert.deepEqual(opened(saved, hostRevision, 1_000).fold.store.placement.moves, []);
});

test("shards are restored under their indices, without addresses", () => {
  const { base, state } = moved();
  const shards = state.placement.shards.map((shard) => ({ ...shard, endpoints: ["old:1"] }));
  const saved = decodeTimeline(encodeTimeline(base, { ...state, placement: { ...state.placement, shards } }));
  // The first one was removed before the snapshot.
  const { base: restored, fold } = opened(saved, state.timeline.cut[HOST]! + 1, 0, NEW_IDS.slice(1));
  assert.deepEqual(restored.clusterIds, ["1", "5", "6"]);
  assert.deepEqual(
    fold.store.placement.shards.map(({ clusterId, endpoints }) => [clusterId, endpoints]),
    [
      ["1", []],
      ["5", []],
      ["6", []],
    ],
  );
});

test("a store whose keys are moving is not saved, nor one with a shard that is not configured", async () => {
  const folder = join(temporaryFolder(), "saved");
  const save = (base: Base, state: StoreState) => {
    const timeline = {
      log: { base, fold: StoreFold.of(HOST, state) },
      hostShard: HOST,
      sync: async () => {},
    } as unknown as SharedTimeline;
    return saveSnapshot({ clusters: [], hostShard: HOST, timeline, folder, braid: "0", progress: () => {} });
  };
  const { base, state } = moved();
  await assert.rejects(save(base, state), /shard "s0" has keys of the store/);
  const plan = { number: 2, below: "", above: "", up: true, cursor: null, frozen: undefined };
  await assert.rejects(
    save(base, { ...state, placement: { ...state.placement, plan } }),
    /plan 2 is moving keys between shards: save the snapshot when it is done/,
  );
  assert.ok(!existsSync(folder));
});

test("a restored store of one shard still needs no entries, and its revisions go on without a gap", () => {
  const table = new SegmentTable(1);
  table.append(2, 0, 5, 3);
  const [revision, cut, hostRevision] = [4, 7, 8];
  const base: Base = { ...history().base, format: 0, map: mapText(1), clusterIds: ["1"] };
  const state = { ...history().state, revision, cut: [cut], hidden: [], table, sole: true };
  const saved = decodeTimeline(encodeTimeline(base, storeOf(base, { ...state, placements: new Map() })));
  const keys = restoredLog(saved, {
    hostShard: 0,
    hostRevision,
    clusterIds: new Map([[0, "9"]]),
    bumpRevision: 0,
    store: STORE,
    mark: MARK,
  }).map(({ key, value }) => {
    const name = Buffer.from(key).toString("latin1");
    return { key: name, value, createRevision: hostRevision, modRevision: hostRevision };
  });
  const { fold, base: restored } = recover(findBase(keys)!, keys, 0, hostRevision + 2);
  assert.ok(fold.isSole && restored.format === 0, "it is a store without entries");
  assert.equal(fold.toRevision(0, hostRevision + 1), revision + 1);
  assert.equal(fold.head, revision + 2);
});
