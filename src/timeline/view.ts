import type { StatusError } from "../status/error.js";

/**
 * What the rest of the proxy sees of the timeline. Revisions are JS numbers (below 2^53); shards are
 * indices in configured order. "Sealed" means: has its place in the timeline, durably.
 */
export interface TimelineView {
  /** Newest revision folded here. */
  readonly head: number;
  /** Newest compacted revision, 0 before any compaction. `Range.revision` below it is refused. */
  readonly compactRevision: number;
  /** Newest sealed shard revision of a shard (its entry in the head cut). */
  cut(shard: number): number;
  /**
   * A shard's entry in the cut of `revision` (0 <= revision <= head): the largest shard revision with the
   * shard's state at it. On the host that is past the log's own writes, so that the host's auto-compaction
   * does not reach a state that is still the newest. For reads, bounds and starts of watches.
   */
  cutAt(revision: number, shard: number): number;
  /** The shard revision of the shard's last write at or below `revision`: where a compaction at `revision` compacts it. */
  lastAt(revision: number, shard: number): number;
  /**
   * The revision of a sealed shard revision (exact); 0 for 0. A shard revision that has none of its own
   * (the proxy's own writes on the host) maps to the revision before it.
   */
  toRevision(shard: number, shardRevision: number): number;
  /** The shard revision of `revision` if it came from this shard, else undefined. For EQUAL compares. */
  toShardRevision(revision: number, shard: number): number | undefined;
  /** `header.revision` of a read answered by `shard` at `shardRevision` (which must be sealed). */
  readRevision(shard: number, shardRevision: number): number;
  /** The run of consecutive revisions, all from one shard, that begins at `revision` (1 < revision <= head). */
  runAt(revision: number): Run;
}

/** The shard of revisions at which nothing happened. */
export const NOBODY = -1;

/** Revisions `revision … revision + length - 1` are the shard's revisions `shardRevision … shardRevision + length - 1`. */
export interface Run {
  readonly revision: number;
  /** `NOBODY` where nothing happened. */
  readonly shard: number;
  readonly shardRevision: number;
  readonly length: number;
}

/** Where leases have parts besides their home shard: lease id → set of shard indices. */
export type Placements = ReadonlyMap<bigint, ReadonlySet<number>>;

export type Sealed = (error: StatusError | undefined) => void;

/** A read of the log's end, begun or joined by `Timeline.beginRead`. */
export interface LogEnd {
  /** Calls `done` once, when the log is folded up to the end that was read; at once if it is already. */
  whenFolded(done: Sealed): void;
}

/**
 * Tells the log's end by the answer to a linearizable read of the host: `shardRevision` is what it was read at, undefined when it
 * failed.
 */
export type EndCarrier = (shardRevision: number | undefined) => void;

export interface Timeline extends TimelineView {
  /**
   * True while the host is known to take no entries for want of space, until one is taken again (tried after 1.5 s at the latest): what
   * is written meanwhile could not be sealed, and reads of its shard would fail for it.
   */
  readonly isHostFull: boolean;
  /**
   * True while the host is known not to answer: it is not connected, or the last append or the last read of the log's end has
   * failed; and once the timeline can not go on. What is written meanwhile could not be sealed.
   */
  readonly isHostAway: boolean;
  /**
   * Calls `done` once, when a write may be sent: at once unless the host is away, else when it answers again within a moment; else
   * with UNAVAILABLE, which says that nothing was written.
   */
  whenWritable(done: Sealed): void;
  /**
   * For a change that begins now and is not hot: resolves when a write may be sent (`whenWritable`), and the log's end is read
   * and folded, so that the host has just answered. For relaxed reads the end is only read if the change `needsEnd`. Rejects with
   * UNAVAILABLE, which says that nothing was written.
   */
  beginWrite(needsEnd: boolean): Promise<void>;
  /** True at once when `shardRevision` of `shard` is sealed. */
  isSealed(shard: number, shardRevision: number): boolean;
  /**
   * Seals and resolves when done. Rejects with UNAVAILABLE when the host cannot be reached; what was
   * proposed is then still sealed later. Callers check `isSealed` first where a promise costs.
   * `written` tells that this shard revision is known to be a client's write, so that it is proposed at
   * once; a read waits a moment for another proxy's entry first.
   */
  seal(shard: number, shardRevision: number, written: boolean): Promise<void>;
  /** `seal` for what is hot, without a promise: `done` is called once, at once if it is sealed already. */
  whenSealed(shard: number, shardRevision: number, written: boolean, done: Sealed): void;
  /**
   * For a linearizable call on `shard` that begins now: the read of the log's end that its header has to wait for, so that it
   * covers every revision acknowledged before. The calls of a turn of the event loop share one. The timeline host's own answers
   * need none: the log's entries before them are folded once their shard revision is sealed. Nor do relaxed reads.
   */
  beginRead(shard: number): LogEnd;
  /** Announces a linearizable read of `shard` that leaves at the end of this turn, and calls `carryEnd` then. */
  announceRead(shard: number): void;
  /**
   * For an announced read, when it leaves: if its shard is the host, its answer spares the turn's read of the log's end.
   * The result is to be called exactly once. Undefined when there is nothing to carry.
   */
  carryEnd(shard: number): EndCarrier | undefined;
  /** `beginRead` for a call that reads all of `shards`. */
  beginScan(shards: readonly number[]): LogEnd;
  /** `whenSealed` for the answer to a call that changed nothing: `done` waits for `end` as well. */
  whenRead(shard: number, shardRevision: number, end: LogEnd, done: Sealed): void;
  /** One linearizable read of the log's end, folded: afterwards `head` is at or after every write answered before the call. */
  sync(): Promise<void>;
  /** `sync` for the header of an answer that is no single shard's; resolves at once for relaxed reads. */
  refresh(): Promise<void>;
  /** Logs a compaction at `revision`. Resolves true when this call's entry took effect, false when it was compacted already. */
  compact(revision: number): Promise<boolean>;
  readonly placements: Placements;
  /** Logs that a lease gets a part on `shard`; resolves when every later fold knows it. */
  place(lease: bigint, shard: number): Promise<void>;
  /** Logs that a lease has no parts any more. */
  unplace(lease: bigint): Promise<void>;
  /** Calls `listener` after each fold that changed head, compactRevision or placements. Returns a function that takes it back. */
  onAdvance(listener: () => void): () => void;
  /** Highest raft term seen (persisted with the log), for `header.raft_term`. */
  readonly raftTerm: number;
}
