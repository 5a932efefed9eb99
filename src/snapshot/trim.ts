import { isReserved } from "../lease/reserved.js";
import { KeyValue } from "../wire/messages.js";
import { BoltReader, type Row } from "./bolt/reader.js";
import { BoltWriter } from "./bolt/writer.js";
import { currentRevision, isTombstone, KEYS, LEASES, leaseRow, mainRevision, revisionKey } from "./mvcc.js";

/** What a lease gets to live, in seconds, of which only its keys are left; see `trimBackend`. */
export const ENDED_LEASE_TTL = 60;

export interface Trim {
  /** The newest revision that stays; all later ones go. Infinity: all stay. */
  readonly at: number;
  /**
   * Replaces the keys with this prefix by others, in one transaction at the revision after the last one that stays,
   * which `keys` is given.
   */
  readonly replace?: {
    readonly prefix: Uint8Array;
    keys(revision: number): readonly { key: Uint8Array; value: Uint8Array }[];
  };
}

/**
 * Writes the backend file `from` anew as `to`, as it was at an earlier revision: the later versions of all keys are left
 * out, which are the last rows of their bucket. All that stays keeps its revisions and versions.
 *
 * Leases are not versioned. One that ended later is not in the file any more, though keys are attached to it; it comes
 * back with `ENDED_LEASE_TTL`, so that its keys end soon instead of never. Returns the revision that the file is at.
 */
export function trimBackend(from: string, to: string, trim: Trim): number {
  const reader = new BoltReader(from);
  try {
    const writer = new BoltWriter(to, reader.pageSize);
    try {
      const last = Math.min(trim.at, currentRevision(reader));
      const revision = trim.replace === undefined ? last : last + 1;
      const kept = new Kept(reader, trim);
      // The leases are known when the keys are written: "key" comes before "lease".
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

/** What a live key of the replaced prefix is like. */
interface Replaced {
  readonly createRevision: number;
  readonly version: number;
}

class Kept {
  private readonly known = new Set<bigint>();
  /** Live keys whose lease is not there, latin1. */
  private readonly orphans = new Map<string, bigint>();
  /** Live keys with the prefix that is replaced, latin1. */
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
    const missing = [...new Set(this.orphans.values())].map((id) => leaseRow(id, ENDED_LEASE_TTL));
    const rows = [...this.reader.rows(LEASES), ...missing];
    // Who held a lock of the proxies does not hold it in the restored store.
    yield* rows
      .filter(({ key }) => !isReserved(key.readBigInt64BE(0)))
      .sort((a, b) => Buffer.compare(a.key, b.key));
  }

  /** One transaction: what is there under the prefix is deleted or overwritten, the rest put. */
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
