import { isReserved } from "../lease/reserved.js";
import { KeyValue } from "../wire/messages.js";
import { BoltReader, type Row } from "./bolt/reader.js";
import { BoltWriter } from "./bolt/writer.js";
import { currentRevision, isTombstone, KEYS, LEASES, leaseRow, mainRevision, revisionKey } from "./mvcc.js";

/** Time to live of a lease of which only its keys are left; see `trimBackend`. */
export const ENDED_LEASE_TTL_SECONDS = 60;

export interface Trim {
  /** The newest revision that stays; all later ones are removed. Infinity: all stay. */
  readonly at: number;
  /**
   * Replaces the keys with this prefix by others, in one transaction at the revision after the last one that stays. `keys`
   * gets that revision.
   */
  readonly replace?: {
    readonly prefix: Uint8Array;
    keys(revision: number): readonly { key: Uint8Array; value: Uint8Array }[];
  };
}

/**
 * Copies the backend file `from` to `to`, in its state at an earlier revision. Later versions of keys, which are the last rows
 * of their bucket, are left out. Everything else keeps its revisions and versions. Returns the revision of the new file.
 *
 * Leases are not versioned. A lease that ended later is no longer in the file, although keys are attached to it. It comes back
 * with `ENDED_LEASE_TTL_SECONDS`, so that its keys expire soon.
 */
export function trimBackend(from: string, to: string, trim: Trim): number {
  const reader = new BoltReader(from);
  try {
    const writer = new BoltWriter(to, reader.pageSize);
    try {
      const last = Math.min(trim.at, currentRevision(reader));
      const revision = trim.replace === undefined ? last : last + 1;
      const kept = new Kept(reader, trim);
      // "key" comes before "lease", so the missing leases are known when the leases are written.
      for (const bucket of reader.buckets) {
        if (bucket === KEYS) writer.bucket(bucket, kept.keys(revision));
        else if (bucket === LEASES) writer.bucket(bucket, kept.leases());
        else writer.bucket(bucket, reader.rows(bucket));
      }
      writer.finish();
      return revision;
    } catch (error) {
      writer.close();
      throw error;
    }
  } finally {
    reader.close();
  }
}

/** A live key with the replaced prefix. */
interface Replaced {
  readonly createRevision: number;
  readonly version: number;
}

class Kept {
  private readonly known = new Set<bigint>();
  /** Live keys without their lease in the file, as latin1. */
  private readonly orphans = new Map<string, bigint>();
  /** Live keys with the replaced prefix, as latin1. */
  private readonly replaced = new Map<string, Replaced>();

  constructor(
    private readonly reader: BoltReader,
    private readonly trim: Trim,
  ) {
    for (const { key } of reader.rows(LEASES)) this.known.add(key.readBigInt64BE(0));
  }

  *keys(revision: number): Generator<Row> {
    const prefix = this.trim.replace?.prefix;
    for (const row of this.reader.rows(KEYS)) {
      if (mainRevision(row) > this.trim.at) break;
      const { key, lease, createRevision, version } = KeyValue.decode(row.value);
      const deleted = isTombstone(row);
      if (!deleted && lease !== 0n && !this.known.has(lease)) this.orphans.set(latin1(key), lease);
      else if (this.orphans.size > 0) this.orphans.delete(latin1(key));
      if (prefix !== undefined && startsWith(key, prefix)) {
        if (deleted) this.replaced.delete(latin1(key));
        else this.replaced.set(latin1(key), { createRevision, version });
      }
      yield row;
    }
    yield* this.replacement(revision);
  }

  *leases(): Generator<Row> {
    const missing = [...new Set(this.orphans.values())].map((id) => leaseRow(id, ENDED_LEASE_TTL_SECONDS));
    const rows = [...this.reader.rows(LEASES), ...missing];
    // Locks of the proxies are not held in the restored store.
    yield* rows
      .filter(({ key }) => !isReserved(key.readBigInt64BE(0)))
      .sort((a, b) => Buffer.compare(a.key, b.key));
  }

  /** One transaction that puts the new keys, and deletes all other keys with the prefix. */
  private *replacement(revision: number): Generator<Row> {
    let sub = 0;
    const fresh = this.trim.replace?.keys(revision) ?? [];
    for (const { key, value } of fresh) {
      const old = this.replaced.get(latin1(key));
      this.replaced.delete(latin1(key));
      const kv = {
        key,
        value,
        createRevision: old?.createRevision ?? revision,
        modRevision: revision,
        version: (old?.version ?? 0) + 1,
      };
      yield { key: revisionKey(revision, sub++, false), value: Buffer.from(KeyValue.encode(kv)) };
    }
    for (const name of this.replaced.keys()) {
      const value = Buffer.from(KeyValue.encode({ key: Buffer.from(name, "latin1") }));
      yield { key: revisionKey(revision, sub++, true), value };
    }
  }
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return prefix.every((byte, i) => bytes[i] === byte);
}
