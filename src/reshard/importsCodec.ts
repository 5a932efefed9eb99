import { int64Size, putInt64 } from "../wire/varint.js";
import type { OffsetTable } from "./offsets.js";
import { decodePairs, encodePairs } from "./pairs.js";
import type { TwinTable } from "./twins.js";

/*
 * The encoding of twins and version offsets, for bases. Both only grow at their ends, so a base can leave the older ones in
 * parts that are never written again. A block has one list after another: shard and kind, length in bytes, pairs.
 */

/** The twins and version offsets of all shards. */
export interface Imports {
  readonly twins: TwinTable;
  readonly offsets: OffsetTable;
}

/** The first twins and offsets of one shard. */
export interface ImportCount {
  readonly shard: number;
  readonly twins: number;
  readonly offsets: number;
}

/** A block, and how many twins and offsets the blocks up to this one have. */
export interface ImportBlock {
  readonly bytes: Buffer;
  readonly counts: readonly ImportCount[];
}

/** Number of twins and offsets that are not among the first `counts`. */
export function importsAfter({ twins, offsets }: Imports, counts: readonly ImportCount[]): number {
  const before = counts.reduce((sum, count) => sum + count.twins + count.offsets, 0);
  return twins.count + offsets.count - before;
}

/** Encodes the twins and offsets after the first `counts`, at most `limit` together. */
export function encodeImports(
  { twins, offsets }: Imports,
  counts: readonly ImportCount[],
  limit = Number.POSITIVE_INFINITY,
): ImportBlock {
  const pieces: Buffer[] = [];
  const after: ImportCount[] = [];
  let room = limit;
  const shards = new Set([...twins.shardIndices, ...offsets.shardIndices]);
  for (const shard of [...shards].sort((a, b) => a - b)) {
    const done = counts.find((count) => count.shard === shard) ?? { shard, twins: 0, offsets: 0 };
    const ofTwins = twins.list(shard, done.twins, done.twins + room);
    room -= ofTwins.revisions.length;
    const ofOffsets = offsets.list(shard, done.offsets, done.offsets + room);
    room -= ofOffsets.offsets.length;
    if (ofTwins.revisions.length > 0)
      pieces.push(...piecesOf(2 * shard, encodePairs(ofTwins.shardRevisions, ofTwins.revisions)));
    if (ofOffsets.offsets.length > 0)
      pieces.push(...piecesOf(2 * shard + 1, encodePairs(ofOffsets.lives, ofOffsets.offsets)));
    after.push({
      shard,
      twins: done.twins + ofTwins.revisions.length,
      offsets: done.offsets + ofOffsets.offsets.length,
    });
  }
  return { bytes: Buffer.concat(pieces), counts: after };
}

/** Adds the twins and offsets of a block made by `encodeImports`. Throws a SyntaxError when the block is truncated. */
export function decodeImports(bytes: Uint8Array, { twins, offsets }: Imports): void {
  let at = 0;
  const next = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = bytes[at++];
      if (byte === undefined) throw truncated();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const name = next();
    const length = next();
    if (at + length > bytes.length) throw truncated();
    const { ascending, values } = decodePairs(bytes.subarray(at, at + length));
    at += length;
    const shard = Math.floor(name / 2);
    if (name % 2 === 0) twins.add(shard, { shardRevisions: ascending, revisions: values });
    else offsets.add(shard, { lives: ascending, offsets: values });
  }
}

function piecesOf(name: number, pairs: Buffer): Buffer[] {
  const head = Buffer.alloc(int64Size(name) + int64Size(pairs.length));
  putInt64(head, putInt64(head, 0, name), pairs.length);
  return [head, pairs];
}

const truncated = (): SyntaxError => new SyntaxError("a block of twins and version offsets is truncated");
