import { type Base, decodeBase, encodeBase, PART_SIZES } from "../timeline/base.js";
import type { FoldState } from "../timeline/fold.js";
import { BASE_KEY, partKey, TAIL_KEY } from "../timeline/keys.js";
import { planBase } from "../timeline/rebase.js";

/** The timeline of one moment: everything that the log says up to a revision. */
export interface SavedTimeline {
  readonly base: Base;
  readonly state: FoldState;
}

/** The timeline as one file: a base with nothing outside of it. */
export function encodeTimeline(base: Base, state: Readonly<FoldState>): Uint8Array {
  const whole = { ...base, segmentParts: [], segmentsInParts: 0 };
  return encodeBase(whole, state, Number.POSITIVE_INFINITY, () => "").value;
}

/** Throws `StatusError` when the file is not whole or of another format. */
export function decodeTimeline(bytes: Uint8Array): SavedTimeline {
  return decodeBase(bytes, () => undefined);
}

export interface Restored {
  /** Index of the shard that is the host, or -1. */
  readonly hostShard: number;
  /** The host's revision that the keys are put at. Every other shard takes one revision for its mark. */
  readonly hostRevision: number;
  /** The restored store's id. */
  readonly store: string;
  /** On the host. */
  readonly mark: { readonly key: Uint8Array; readonly value: Uint8Array };
  /** Ids of the shards' new clusters, decimal. */
  readonly clusterIds: readonly string[];
  /**
   * How many revisions are left out before the next one, so that none is used that clients have seen after the moment
   * of the snapshot; what is before them counts as compacted. 0: the next revision follows directly.
   */
  readonly bumpRevision: number;
}

/** The keys that make up this timeline's log on a host that begins with nothing of it. */
export function restoredLog(
  { base, state }: SavedTimeline,
  { hostShard, hostRevision, store, mark, clusterIds, bumpRevision }: Restored,
): { key: Uint8Array; value: Uint8Array }[] {
  const cut = state.cut.map((reached) => reached + 1);
  if (hostShard >= 0) cut[hostShard] = hostRevision;
  const revision = state.revision + bumpRevision;
  const compactRevision = bumpRevision > 0 ? revision : state.compactRevision;
  let parts = 0;
  const plan = planBase({
    base,
    guard: 0,
    covers: hostRevision,
    state: { ...state, cut, hidden: [], revision, compactRevision },
    parts: new Map(),
    firstNeededEpoch: base.epoch,
    sizes: PART_SIZES,
    newPart: () => partKey(base.epoch + 1, "restored", parts++),
    change: { pruned: { table: state.table, at: base.prunedAt }, clusterIds, store },
  });
  return [
    ...plan.parts.map(({ key, value }) => ({ key: Buffer.from(key, "latin1"), value })),
    { key: BASE_KEY, value: plan.value },
    { key: TAIL_KEY, value: new Uint8Array(0) },
    mark,
  ];
}
