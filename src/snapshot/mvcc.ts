import { writer } from "../wire/writer.js";
import type { BoltReader, Row } from "./bolt/reader.js";

/*
 * The contents of etcd's buckets. `key`: every version of every key, by its revision: main (8 bytes), "_", sub (8 bytes), and
 * then "t" if the version is a deletion. `lease`: leases by id. `meta`: among other values, the compacted revision.
 */
export const KEYS = "key";
export const LEASES = "lease";
const META = "meta";

const SEPARATOR = 0x5f;
const TOMBSTONE = 0x74;
const REVISION_BYTES = 17;

/** The key of a row of `key`. */
export function revisionKey(main: number, sub: number, tombstone: boolean): Buffer {
  const key = Buffer.alloc(REVISION_BYTES + (tombstone ? 1 : 0));
  key.writeBigUInt64BE(BigInt(main), 0);
  key[8] = SEPARATOR;
  key.writeBigUInt64BE(BigInt(sub), 9);
  if (tombstone) key[REVISION_BYTES] = TOMBSTONE;
  return key;
}

/** The main revision of a row of `key`. */
export const mainRevision = ({ key }: Row): number => Number(key.readBigUInt64BE(0));

export const isTombstone = ({ key }: Row): boolean => key[REVISION_BYTES] === TOMBSTONE;

/** The row of `lease` for a lease of `ttl` seconds. */
export function leaseRow(id: bigint, ttl: number): Row {
  const key = Buffer.alloc(8);
  key.writeBigInt64BE(id);
  const value = writer.encode(
    (w, lease) => {
      w.int64(0x10, lease.ttl);
      w.big64(0x08, lease.id);
    },
    { id, ttl },
  );
  return { key, value: Buffer.from(value) };
}

/** The current revision of an etcd with this backend. */
export function currentRevision(file: BoltReader): number {
  const last = file.last(KEYS);
  return Math.max(1, last === undefined ? 0 : mainRevision(last), compactedRevision(file));
}

/** The revision at which the backend is compacted, or about to be; 0 if it never was. */
export function compactedRevision(file: BoltReader): number {
  const revisions = ["scheduledCompactRev", "finishedCompactRev"].map((name) => {
    const value = file.get(META, name);
    return value === undefined ? 0 : Number(value.readBigUInt64BE(0));
  });
  return Math.max(...revisions);
}
