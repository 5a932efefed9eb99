import { encodeImports, type ImportCount, type Imports, importsAfter } from "../reshard/importsCodec.js";
import type { PlacementState } from "../reshard/placement.js";
import { type Base, encodeBase, encodeSegments, type NewBase, type PartSizes } from "./base.js";
import type { NextHost } from "./host.js";
import { entriesBefore } from "./keys.js";
import type { SegmentTable } from "./segments.js";
import type { StoreState } from "./storeFold.js";

/** Most deletions of parts in one transaction. etcd's default limit is 128 operations. */
const DELETES_PER_BASE = 100;
const EMPTY = Buffer.alloc(0);

/** Changes of a new base. All are optional: every base closes an epoch. */
export interface BaseChange {
  /** Tables that replace the segments and, if given, the imports, pruned for the compaction at revision `at`. */
  readonly pruned?: { readonly table: SegmentTable; readonly at: number; readonly imports?: Imports };
  readonly clusterIds?: readonly string[];
  readonly store?: string;
  /** Endpoints of shards by name, for those whose endpoints are not known yet. */
  readonly endpoints?: ReadonlyMap<string, readonly string[]>;
  /** The format from this base on; by default that of the base before. It never goes back. */
  readonly format?: 2 | 3;
  /** Ends a sole store; see `Base`. The caller also raises gen on the shard, in the same transaction. */
  readonly endsSole?: true;
  /** Moves the log: no entry follows this base. */
  readonly next?: NextHost;
  /** See `Base`; by default that of the base before. */
  readonly hosts?: number;
}

export interface BaseInput {
  /** The base to replace. */
  readonly base: Base;
  /** Mod revision of `base`. */
  readonly guard: number;
  /** Host revision up to which `state` is folded, at least `guard`. */
  readonly covers: number;
  readonly state: StoreState;
  /** All part keys on the host → create revision. */
  readonly parts: ReadonlyMap<string, number>;
  /** Entries of earlier epochs are deleted. The new base covers them all. */
  readonly firstNeededEpoch: number;
  readonly sizes: PartSizes;
  /** Makes the key of a new part. */
  newPart(): string;
  readonly change: BaseChange;
}

/** The writes for a new base: each part in a separate transaction, then the base and the deletions in one. */
export interface BasePlan {
  readonly parts: readonly { readonly key: string; readonly value: Uint8Array }[];
  readonly value: Uint8Array;
  readonly deletes: readonly { readonly key: Buffer; readonly end: Buffer }[];
}

/** Plans the next base. Pure. */
export function planBase(input: BaseInput): BasePlan {
  const { base: old, sizes, newPart } = input;
  const {
    pruned,
    clusterIds,
    store = old.store,
    format = old.endsSole ? 2 : old.format,
    endsSole,
    hosts = old.hosts,
    next,
  } = input.change;
  const { timeline } = input.state;
  const table = pruned?.table ?? timeline.table;
  const parts: { key: string; value: Uint8Array }[] = [];
  const segmentParts = pruned === undefined ? [...old.segmentParts] : [];
  let segmentsInParts = pruned === undefined ? old.segmentsInParts : 0;
  // The last segment may still grow, so a part is written only when another segment follows it.
  while (table.count > segmentsInParts + sizes.segments) {
    const key = newPart();
    const end = segmentsInParts + sizes.segments;
    parts.push({ key, value: encodeSegments(table, segmentsInParts, end) });
    segmentParts.push(key);
    segmentsInParts = end;
  }
  const placement = placementFor(input);
  const importParts = pruned === undefined ? [...(old.placement?.importParts ?? [])] : [];
  let importsInParts: readonly ImportCount[] =
    pruned === undefined ? (old.placement?.importsInParts ?? []) : [];
  while (importsAfter(placement, importsInParts) > sizes.imports) {
    const { bytes, counts } = encodeImports(placement, importsInParts, sizes.imports);
    const key = newPart();
    parts.push({ key, value: bytes });
    importParts.push(key);
    importsInParts = counts;
  }
  const epoch = old.epoch + 1;
  const base: NewBase = {
    format,
    epoch,
    covers: input.covers,
    segmentParts,
    segmentsInParts,
    generation: pruned === undefined ? old.generation : epoch,
    prunedCount: pruned?.table.count ?? old.prunedCount,
    prunedAt: pruned?.at ?? old.prunedAt,
    map: old.map,
    clusterIds: clusterIds ?? old.clusterIds,
    ...(format > 1 && { placement: { importParts, importsInParts } }),
    ...(hosts !== undefined && { hosts }),
    ...(next !== undefined && { next }),
    ...(endsSole && { endsSole }),
    ...(store !== undefined && { store }),
  };
  const state = { ...input.state, timeline: { ...timeline, table }, placement };
  const { value, blob } = encodeBase(base, state, sizes.bytes, newPart);
  const deletes = [
    entriesBefore(input.firstNeededEpoch),
    ...unusedParts(input, [...segmentParts, ...importParts]),
  ];
  return { parts: [...parts, ...blob], value, deletes };
}

/** The placement that the new base holds. */
function placementFor({ state: { placement }, change }: BaseInput): PlacementState {
  const { pruned, clusterIds, endpoints } = change;
  const { twins, offsets } = pruned?.imports ?? placement;
  const shards = placement.shards.map((shard, index) => ({
    ...shard,
    clusterId: clusterIds?.[index] ?? shard.clusterId,
    endpoints: shard.endpoints.length > 0 ? shard.endpoints : (endpoints?.get(shard.name) ?? []),
  }));
  return { ...placement, shards, twins, offsets };
}

/**
 * Parts that only older bases name, or that no base names because their writer lost the race. Parts younger than the
 * current base stay: they may belong to the next base of another proxy.
 */
function unusedParts(input: BaseInput, kept: readonly string[]): { key: Buffer; end: Buffer }[] {
  const needed = new Set(kept);
  const unused: { key: Buffer; end: Buffer }[] = [];
  for (const [key, createRevision] of input.parts) {
    if (unused.length === DELETES_PER_BASE) break;
    if (createRevision <= input.guard && !needed.has(key)) {
      unused.push({ key: Buffer.from(key, "latin1"), end: EMPTY });
    }
  }
  return unused;
}
