import { type Change, decodeChange, encodeChange } from "../reshard/change.js";

/** A change to the shards, other than its home, where a lease has parts. */
export type LeaseOp =
  | { readonly kind: "place"; readonly lease: bigint; readonly shard: number }
  | { readonly kind: "unplace"; readonly lease: bigint };

/** One proposal in the timeline log. All of it is idempotent: folded twice, it changes nothing the second time. */
export interface Entry {
  /** Shard index → the shard revision that the shard has reached. Shards without news are absent. */
  readonly reached: ReadonlyMap<number, number>;
  /** Revision to compact at; 0: no compaction. */
  readonly compact: number;
  readonly leases: readonly LeaseOp[];
  /** Highest Raft term that the proposer has seen; 0: nothing new. */
  readonly raftTerm: number;
  /**
   * Set for an entry in the transaction of a client's put on the host: the host, as a shard, has reached the revision of this very
   * transaction, which is a write and not the log's own.
   */
  readonly own?: true;
  /** A change to where keys are, after everything else that the entry says. */
  readonly change?: Change;
}

/** The stored form: JSON, so that operators can read the log with etcdctl. Lease ids are strings because they exceed 2^53. */
interface EntryJson {
  p?: [shard: number, shardRevision: number][];
  c?: number;
  l?: [lease: string, shard: number | null][];
  t?: number;
  o?: 1;
  r?: unknown;
}

const FIELDS: ReadonlySet<string> = new Set(["p", "c", "l", "t", "o", "r"] satisfies (keyof EntryJson)[]);

/** Encodes an entry as text, ASCII without a change. Written out by hand, because every group of writes needs one. */
export function encodeEntry(entry: Entry): string {
  let fields = "";
  if (entry.reached.size > 0) {
    let list = "";
    for (const [shard, shardRevision] of entry.reached) list += `,[${shard},${shardRevision}]`;
    fields += `,"p":[${list.slice(1)}]`;
  }
  if (entry.compact > 0) fields += `,"c":${entry.compact}`;
  if (entry.leases.length > 0) {
    const list = entry.leases.map((op) => `["${op.lease}",${op.kind === "place" ? op.shard : null}]`);
    fields += `,"l":[${list}]`;
  }
  if (entry.raftTerm > 0) fields += `,"t":${entry.raftTerm}`;
  if (entry.own) fields += ',"o":1';
  if (entry.change !== undefined) fields += `,"r":${encodeChange(entry.change)}`;
  return `{${fields.slice(1)}}`;
}

/** Decodes an entry. Throws a SyntaxError for bytes that no proxy wrote, and for fields that this version does not know. */
export function decodeEntry(bytes: Uint8Array): Entry {
  const json = JSON.parse(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(),
  ) as EntryJson;
  for (const field in json) {
    if (!FIELDS.has(field)) throw new SyntaxError(`a timeline entry has the unknown field "${field}"`);
  }
  return {
    reached: new Map(json.p ?? []),
    compact: json.c ?? 0,
    leases: (json.l ?? []).map(([lease, shard]) =>
      shard === null
        ? { kind: "unplace", lease: BigInt(lease) }
        : { kind: "place", lease: BigInt(lease), shard },
    ),
    raftTerm: json.t ?? 0,
    ...(json.o === 1 && { own: true }),
    ...(json.r !== undefined && { change: decodeChange(json.r) }),
  };
}
