import { writer } from "../wire/writer.js";
import type { BoltReader, Row } from "./bolt/reader.js";

/*
 * What etcd keeps in its buckets. `key`: every version of every key, under its revision: main (8 bytes), "_", sub (8
 * bytes), and "t" behind it when the version is a deletion. `lease`: leases by id. `meta`: among others, how far the
 * versions are compacted.
 */
export const KEYS = "key";
export const LEASES = "lease";
const META = "meta";

const SEPARATOR = 0x5f;
const TOMBSTONE = 0x74;
const REVISION_LENGTH = 17;

/** The key of a row of `key`. */
export function revisionKey(main: number, sub: number, tombstone: boolean): Buffer {
  const key = Buffer.alloc(REVISION_LENGTH + (tombstone ? 1 : 0));
  key.writeBigUInt64BE(BigInt(main), 0);
  key[8] = SEPARATOR;
  key.writeBigUInt64BE(BigInt(sub), 9);
  if (tombstone) key[REVISION_LENGTH] = TOMBSTONE;
  return key;
}

/** The revision (the main part) that a row of `key` belongs to. */
export const mainRevision = ({ key }: Row): number => Number(key.readBigUInt64BE(0));

export const isTombstone = ({ key }: Row): boolean => key[REVISION_LENGTH] === TOMBSTONE;

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

/** The revision that an etcd with this backend is at. */
export function currentRevision(file: BoltReader): number {
  const last = file.last(KEYS);
  return Math.max(1, last === undefined ? 0 : mainRevision(last), compactedRevision(file));
}

/** The revision that the backend is compacted at, or is about to be; 0 when it never was. */
export function compactedRevision(file: BoltReader): number {
  const revisions = ["scheduledCompactRev", "finishedCompactRev"].map((name) => {
    const value = file.get(META, name);
    return value === undefined ? 0 : Number(value.readBigUInt64BE(0));
  });
  return Math.max(...revisions);
}
