import type { PlanShard } from "../reshard/change.js";
import { type Base, decodeBase, encodeBase, PART_SIZES } from "../timeline/base.js";
import { planBase } from "../timeline/basePlan.js";
import { BASE_KEY, partKey, TAIL_KEY } from "../timeline/keys.js";
import type { StoreState } from "../timeline/storeFold.js";

/** The timeline at one moment: everything in the log up to a revision. */
export interface SavedTimeline {
  readonly base: Base;
  readonly state: StoreState;
}

/** The timeline as one file: a base without separate parts. */
export function encodeTimeline(base: Base, state: StoreState): Uint8Array {
  const { placement: _, ...rest } = base;
  const whole = { ...rest, segmentParts: [], segmentsInParts: 0 };
  return encodeBase(whole, state, Number.POSITIVE_INFINITY, () => "").value;
}

/** Throws `StatusError` if the file is damaged or has another format. */
export function decodeTimeline(bytes: Uint8Array): SavedTimeline {
  return decodeBase(bytes, () => undefined);
}

export interface Restored {
  /** Index of the shard that is the host, or -1. */
  readonly hostShard: number;
  /** The host's revision at which the keys are put. Every other shard uses one revision for its mark. */
  readonly hostRevision: number;
  /** The restored store's id. */
  readonly store: string;
  /** The host's mark. */
  readonly mark: { readonly key: Uint8Array; readonly value: Uint8Array };
  /** Ids of the new clusters by the shard's index, decimal. Shards that were removed before the snapshot have none. */
  readonly clusterIds: ReadonlyMap<number, string>;
  /**
   * Number of revisions to skip, so that no revision is used again that clients saw after the snapshot. Older revisions
   * count as compacted. 0: the next revision follows directly.
   */
  readonly bumpRevision: number;
}

/** The keys of this timeline's log, for a host without a log. */
export function restoredLog(
  { base, state }: SavedTimeline,
  { hostShard, hostRevision, store, mark, clusterIds, bumpRevision }: Restored,
): { key: Uint8Array; value: Uint8Array }[] {
  const { timeline, placement } = state;
  // The clusters of the snapshot have other addresses.
  const shards = placement.shards.map((shard) => ({ ...shard, endpoints: [] }));
  const idOf = ({ index, clusterId }: PlanShard) => clusterIds.get(index) ?? clusterId;
  const cut = timeline.cut.map((reached) => reached + 1);
  if (hostShard >= 0) cut[hostShard] = hostRevision;
  const revision = timeline.revision + bumpRevision;
  const compactRevision = bumpRevision > 0 ? revision : timeline.compactRevision;
  let parts = 0;
  const plan = planBase({
    base,
    guard: 0,
    covers: hostRevision,
    state: {
      timeline: { ...timeline, cut, hidden: [], revision, compactRevision },
      placement: {
        ...placement,
        shards,
        moves: placement.moves.filter((move) => move.revision >= compactRevision),
      },
      // The placement refers to positions, and those of later changes must be above them.
      positionOffset: Math.max(0, placement.position - hostRevision),
    },
    parts: new Map(),
    firstNeededEpoch: base.epoch,
    sizes: PART_SIZES,
    newPart: () => partKey(base.epoch + 1, "restored", parts++),
    change: {
      pruned: { table: timeline.table, at: base.prunedAt },
      clusterIds: shards.map(idOf),
      store,
    },
  });
  return [
    ...plan.parts.map(({ key, value }) => ({ key: Buffer.from(key, "latin1"), value })),
    { key: BASE_KEY, value: plan.value },
    { key: TAIL_KEY, value: new Uint8Array(0) },
    mark,
  ];
}
