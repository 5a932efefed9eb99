import { decodeImports, encodeImports, type ImportCount } from "../reshard/importsCodec.js";
import { firstPlacement, type PlacementState } from "../reshard/placement.js";
import { decodePlacement, encodePlacement } from "../reshard/placementCodec.js";
import { parseMap } from "../routing/fingerprint.js";
import { Code, StatusError } from "../status/error.js";
import type { NextHost } from "./host.js";
import { SegmentTable } from "./segments.js";
import type { StoreState } from "./storeFold.js";

/**
 * A base: the fold up to host revision `covers`. Recovery reads the base and the entries above it.
 *
 * Old segments and imports are in immutable parts, so that the cost of a new base depends only on what is new. The rest
 * (recent segments and imports, lease placements, the placement of keys) is in the base's own value or, when that would be too
 * large, in further parts.
 */
export interface Base {
  /**
   * 0 for a sole store (`Fold.isSole`), which only programs that know it can follow. 1 in a store that began without marks, until
   * the first change of the placement is proposed; otherwise 2. Formats above 1 hold a placement. 3 once the log moves to another host, which versions that
   * know only 2 would not notice.
   */
  readonly format: 0 | 1 | 2 | 3;
  /** True for the base that ends a sole store. It has format 0. What follows in the log is as in every other store. */
  readonly endsSole?: true;
  /** Number of hosts that the log has had, the present one included. Absent: 1. */
  readonly hosts?: number;
  /** Where the log continues. Then this is the last base here, and no entry follows it. */
  readonly next?: NextHost;
  /** Number of this base. The keys of entries name the epoch of the base that their writer knew. */
  readonly epoch: number;
  /** Host revision up to which the log is folded in. */
  readonly covers: number;
  /** Part keys of the full blocks of segments, oldest first. */
  readonly segmentParts: readonly string[];
  /** Number of segments in these parts: the oldest ones. */
  readonly segmentsInParts: number;
  /** Epoch of the base that last rewrote the old segments (pruning). A proxy that knows another one must reload. */
  readonly generation: number;
  /** Number of segments that the last pruning left. */
  readonly prunedCount: number;
  /** Compaction revision that the last pruning was for. */
  readonly prunedAt: number;
  /** The shard map in force as canonical text. */
  readonly map: string;
  /** Present in formats above 1. */
  readonly placement?: PlacementHead;
  /** Cluster id of each shard, decimal. */
  readonly clusterIds: readonly string[];
  /** The store's id, once all shards carry their marks (mark.ts). From then on, a shard without a mark has lost its data. */
  readonly store?: string;
}

/** Where the older imports of a base are. */
export interface ImportParts {
  /** Part keys of the full blocks of twins and version offsets, oldest first. */
  readonly importParts: readonly string[];
  /** Number of twins and offsets in these parts: the oldest ones of each shard. */
  readonly importsInParts: readonly ImportCount[];
}

/** What a base says about the placement of keys, without its state. */
export interface PlacementHead extends ImportParts {
  /** Names of all shards that the store has had, by index. */
  readonly shards: readonly string[];
  /** Endpoints of these shards; empty if they are not known. */
  readonly endpoints: readonly (readonly string[])[];
  /** The map that the active plan leads to or, after it was turned back, comes from. Absent without a plan. */
  readonly otherMap?: string;
}

/** A base to encode: without what follows from its fold. */
export type NewBase = Omit<Base, "placement"> & { readonly placement?: ImportParts };

const NO_PARTS: ImportParts = { importParts: [], importsInParts: [] };

export interface PartSizes {
  /** Segments in a part. */
  readonly segments: number;
  /** Twins and version offsets in a part. */
  readonly imports: number;
  /** Largest value of one key, in bytes. */
  readonly bytes: number;
}

/** Far below etcd's request limit of 1.5 MiB: a segment takes about 4 bytes, and 32 at most; a twin about 4, and 16 at most. */
export const PART_SIZES: PartSizes = { segments: 8192, imports: 32_768, bytes: 512 * 1024 };

interface BaseJson extends Base {
  readonly revision: number;
  readonly cut: number[];
  readonly hidden: number[];
  readonly compactRevision: number;
  readonly raftTerm: number;
  readonly segments: number;
  /** Bytes of the lease placements. */
  readonly placementBytes: number;
  /** Bytes of the placement of keys and, after it, of recent imports; in formats above 1. */
  readonly keyPlacementBytes?: number;
  readonly importBytes?: number;
  /** In formats above 1; see `StoreState`. */
  readonly positionOffset?: number;
  /** Part keys that hold the bytes after this JSON, when they are not in the base's own value. */
  readonly blobParts: readonly string[];
}

export interface EncodedBase {
  readonly value: Uint8Array;
  /** Parts to put before the base. */
  readonly blob: readonly { key: string; value: Uint8Array }[];
}

const EMPTY = Buffer.alloc(0);

/**
 * Encodes a base with its fold. In formats above 1, map and placement head follow from the fold, except for the part keys. What
 * exceeds `maxBytes` goes into parts, whose keys `blobKey` makes.
 */
export function encodeBase(
  base: NewBase,
  { timeline: state, placement, positionOffset }: StoreState,
  maxBytes: number,
  blobKey: () => string,
): EncodedBase {
  const placements = encodePlacements(state.placements);
  const recent = encodeSegments(state.table, base.segmentsInParts, state.table.count);
  const isPlaced = base.format > 1;
  const { placement: parts = NO_PARTS, ...rest } = base;
  const head = isPlaced ? headOf(placement, parts) : undefined;
  const keyPlacement = isPlaced ? Buffer.from(encodePlacement(placement)) : EMPTY;
  const imports = isPlaced ? encodeImports(placement, parts.importsInParts).bytes : EMPTY;
  const bytes = Buffer.concat([placements, keyPlacement, imports, recent]);
  const blob: { key: string; value: Uint8Array }[] = [];
  if (bytes.length > maxBytes) {
    for (let at = 0; at < bytes.length; at += maxBytes) {
      blob.push({ key: blobKey(), value: bytes.subarray(at, at + maxBytes) });
    }
  }
  const json: BaseJson = {
    ...rest,
    ...head,
    revision: state.revision,
    cut: [...state.cut],
    hidden: [...state.hidden],
    compactRevision: state.compactRevision,
    raftTerm: state.raftTerm,
    segments: state.table.count,
    placementBytes: placements.length,
    ...(isPlaced && {
      keyPlacementBytes: keyPlacement.length,
      importBytes: imports.length,
      positionOffset,
    }),
    blobParts: blob.map((part) => part.key),
  };
  const text = Buffer.from(JSON.stringify(json));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(text.length);
  return { value: Buffer.concat([length, text, ...(blob.length > 0 ? [] : [bytes])]), blob };
}

/** What the head of a base of a format above 1 says about the placement of keys. */
export function headOf(
  { inForce, plan, shards }: PlacementState,
  { importParts, importsInParts }: ImportParts,
): Required<Pick<Base, "map" | "clusterIds" | "placement">> {
  const otherMap = plan?.below === inForce ? plan.above : plan?.below;
  return {
    map: inForce,
    clusterIds: shards.map(({ clusterId }) => clusterId),
    placement: {
      shards: shards.map(({ name }) => name),
      endpoints: shards.map(({ endpoints }) => endpoints),
      ...(otherMap !== undefined && { otherMap }),
      importParts,
      importsInParts,
    },
  };
}

/** Decodes a base without its fold, which a proxy that follows the log already has. */
export function decodeBaseHead(
  value: Uint8Array,
): Base & { readonly cut: readonly number[]; readonly compactRevision: number } {
  return readJson(value).json;
}

/**
 * Decodes a base with its fold. `part` returns the bytes of a part by its key. Throws DATA_LOSS when a part is missing or
 * damaged, and FAILED_PRECONDITION when the format is unknown.
 */
export function decodeBase(
  value: Uint8Array,
  part: (key: string) => Uint8Array | undefined,
): { base: Base; state: StoreState } {
  const { json, rest } = readJson(value);
  const read = (key: string): Uint8Array => {
    const bytes = part(key);
    if (bytes === undefined) {
      throw new StatusError(Code.DATA_LOSS, `timeline: part ${JSON.stringify(key)} of the base is missing`);
    }
    return bytes;
  };
  const table = new SegmentTable(json.cut.length);
  for (const key of json.segmentParts) decodeSegments(read(key), table);
  const blob = json.blobParts.length > 0 ? Buffer.concat(json.blobParts.map(read)) : rest;
  const { placementBytes, keyPlacementBytes = 0, importBytes = 0, positionOffset = 0 } = json;
  const importsAt = placementBytes + keyPlacementBytes;
  const segmentsAt = importsAt + importBytes;
  decodeSegments(blob.subarray(segmentsAt), table);
  if (table.count !== json.segments) {
    throw new StatusError(
      Code.DATA_LOSS,
      `timeline: the base has ${table.count} segments instead of ${json.segments}`,
    );
  }
  const placement =
    json.format < 2
      ? placementOf(json.map, json.clusterIds)
      : decodePlacement(blob.toString("utf8", placementBytes, importsAt));
  for (const key of json.placement?.importParts ?? []) decodeImports(read(key), placement);
  decodeImports(blob.subarray(importsAt, segmentsAt), placement);
  return {
    base: json,
    state: {
      timeline: {
        revision: json.revision,
        cut: json.cut,
        hidden: json.hidden,
        compactRevision: json.compactRevision,
        raftTerm: json.raftTerm,
        placements: decodePlacements(blob.subarray(0, placementBytes)),
        table,
        sole: json.format === 0,
      },
      placement,
      positionOffset,
    },
  };
}

/**
 * The placement of a store that has never had a plan. The endpoints of its shards are not known: each proxy has them in its
 * configuration. Throws a `ShardMapError` when `map` is not the text of a map.
 */
export function placementOf(map: string, clusterIds: readonly string[]): PlacementState {
  const shards = parseMap(map).shards.map(({ name }, index) => ({
    index,
    name,
    endpoints: [],
    clusterId: clusterIds[index] ?? "",
    cut: 1,
  }));
  return firstPlacement(map, shards);
}

const FORMATS: ReadonlySet<number> = new Set([0, 1, 2, 3]);

function readJson(value: Uint8Array): { json: BaseJson; rest: Buffer } {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const length = bytes.readUInt32BE(0);
  const json = JSON.parse(bytes.toString("utf8", 4, 4 + length)) as BaseJson;
  if (!FORMATS.has(json.format)) {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      `timeline: the base has format ${String(json.format)}; this version of etcd-braid supports formats 0 to 3`,
    );
  }
  return { json, rest: bytes.subarray(4 + length) };
}

/**
 * Encodes the segments `from` to `to - 1` as a block of varints, about four bytes per segment: the gap to the previous
 * segment (revisions dropped by pruning), the shard, the gap to the shard's previous segment, and the length. Each block
 * starts counting at zero, so that it can be decoded alone.
 */
export function encodeSegments(table: SegmentTable, from: number, to: number): Buffer {
  const out: number[] = [];
  let revision = 0;
  const shardRevisions = new Map<number, number>();
  for (let index = from; index < to; index++) {
    const run = table.at(index);
    putVarint(out, run.revision - revision);
    putVarint(out, run.shard);
    putVarint(out, run.shardRevision - (shardRevisions.get(run.shard) ?? 0));
    putVarint(out, run.length);
    revision = run.revision + run.length;
    shardRevisions.set(run.shard, run.shardRevision + run.length);
  }
  return Buffer.from(out);
}

/** Appends a block made by `encodeSegments` to `table`. Throws DATA_LOSS when the block is truncated. */
export function decodeSegments(bytes: Uint8Array, table: SegmentTable): void {
  const reader = { bytes, at: 0 };
  let revision = 0;
  const shardRevisions = new Map<number, number>();
  while (reader.at < bytes.length) {
    revision += getVarint(reader);
    const shard = getVarint(reader);
    const shardRevision = (shardRevisions.get(shard) ?? 0) + getVarint(reader);
    const length = getVarint(reader);
    table.append(revision, shard, shardRevision, length);
    revision += length;
    shardRevisions.set(shard, shardRevision + length);
  }
}

/** Nine bytes per part of a lease: id and shard. */
function encodePlacements(placements: ReadonlyMap<bigint, ReadonlySet<number>>): Buffer {
  let count = 0;
  for (const shards of placements.values()) count += shards.size;
  const out = Buffer.alloc(count * 9);
  let at = 0;
  for (const [lease, shards] of placements) {
    for (const shard of shards) {
      out.writeBigInt64BE(lease, at);
      out[at + 8] = shard;
      at += 9;
    }
  }
  return out;
}

function decodePlacements(bytes: Uint8Array): Map<bigint, Set<number>> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const placements = new Map<bigint, Set<number>>();
  for (let at = 0; at < view.length; at += 9) {
    const lease = view.readBigInt64BE(at);
    const shard = view.readUInt8(at + 8);
    const shards = placements.get(lease);
    if (shards === undefined) placements.set(lease, new Set([shard]));
    else shards.add(shard);
  }
  return placements;
}

// Division instead of shifts: revisions exceed 32 bits.
function putVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}

function getVarint(reader: { readonly bytes: Uint8Array; at: number }): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = reader.bytes[reader.at++];
    if (byte === undefined) {
      throw new StatusError(Code.DATA_LOSS, "timeline: a block of segments is truncated");
    }
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
}
