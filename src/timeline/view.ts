import type { Change } from "../reshard/change.js";
import type { Locator } from "../reshard/locator.js";
import type { PlacementState } from "../reshard/placement.js";
import type { StatusError } from "../status/error.js";

/**
 * The mapping between revisions and shard revisions. Revisions are numbers below 2^53. Shards are indices in configured
 * order. A shard revision is sealed when the log has given it its place in the timeline, durably.
 */
export interface TimelineView {
  /** The newest revision that this proxy has folded. */
  readonly head: number;
  /** The newest compaction; 0 before any. A Range at a revision below it is refused. */
  readonly compactRevision: number;
  /** The newest sealed shard revision of a shard: its entry in the cut of the head. */
  cut(shard: number): number;
  /**
   * A shard's entry in the cut of `revision` (0 to `head`): the largest shard revision at which the shard has the state
   * of `revision`. On the host it is above the log's own writes, so that the host's auto-compaction does not reach a state
   * that is still the newest. For reads, and for the bounds and starts of watches.
   */
  cutAt(revision: number, shard: number): number;
  /** The shard revision of the shard's last write at or below `revision`, at which a compaction at `revision` compacts it. */
  lastAt(revision: number, shard: number): number;
  /**
   * The revision of a sealed shard revision; 0 for 0. A shard revision that has no revision (the proxies' own writes on
   * the host) maps to the revision before it. An import of a mover has the revision that it stands for.
   */
  toRevision(shard: number, shardRevision: number): number;
  /**
   * The shard revision of `revision`; undefined if it came from another shard. For EQUAL compares. Does not know imports;
   * see `Timeline.shardRevisionsOf`.
   */
  toShardRevision(revision: number, shard: number): number | undefined;
  /** `header.revision` of a read that `shard` answered at `shardRevision`, which must be sealed. */
  readRevision(shard: number, shardRevision: number): number;
  /**
   * The consecutive revisions of one shard from `revision` (2 to `head`) on. Throws a RangeError for a revision that was
   * pruned.
   */
  runAt(revision: number): Run;
}

/** `Run.shard` of a revision at which no shard changed. */
export const NO_SHARD = -1;

/** `length` revisions from `revision` on, which are the shard revisions from `shardRevision` on of one shard. */
export interface Run {
  readonly revision: number;
  /** Index of the shard, or `NO_SHARD`. */
  readonly shard: number;
  readonly shardRevision: number;
  readonly length: number;
}

/** The shards, other than the home, where leases have parts: lease id → shard indices. */
export type Placements = ReadonlyMap<bigint, ReadonlySet<number>>;

/** Called when a wait is over: without an error if it succeeded. */
export type Sealed = (error: StatusError | undefined) => void;

/** A read of the log's end, begun or joined by `Timeline.beginRead`. */
export interface LogEnd {
  /** Calls `done` once, when the log is folded up to the end that was read. Calls it immediately if it is already. */
  whenFolded(done: Sealed): void;
}

/**
 * Reports the answer to a linearizable read of the host, which shows where the log ends. `shardRevision` is the host's
 * revision in the answer; undefined when the read failed.
 */
export type EndCarrier = (shardRevision: number | undefined) => void;

/** An entry of the log in the transaction of a put on the host, which it seals. */
export interface CarriedEntry {
  /** Encoded fields of a TxnRequest, to be added to the put's. If their compare does not hold, nothing is written. */
  readonly fields: Uint8Array;
  /** Must be called once, with the response to the transaction; undefined if there is none. */
  settle(response: Uint8Array | undefined): void;
}

/** Shard → shard revision, to be sealed by the entry of a change. */
export type Seals = ReadonlyMap<number, number>;

/** The timeline as the rest of the proxy uses it. */
export interface Timeline extends TimelineView {
  /**
   * True while the host refuses entries with NOSPACE. It is retried at least every 1.5 seconds. A write meanwhile could not
   * be sealed, and would make reads of its shard fail.
   */
  readonly isHostFull: boolean;
  /**
   * True while the host does not answer: it is not connected, or the last append or read of the log's end has failed. Also
   * true after the timeline has failed permanently. A write meanwhile could not be sealed.
   */
  readonly isHostAway: boolean;
  /**
   * Calls `done` once, when a write may be sent: immediately, unless the host is away. Otherwise waits up to 1.5 seconds for
   * it, then fails with UNAVAILABLE, whose text says that nothing was written.
   */
  whenWritable(done: Sealed): void;
  /**
   * For a change that begins now and is not hot. Resolves when a write may be sent (`whenWritable`) and the log's end is read
   * and folded, which shows that the host answers. With relaxed reads, the end is read only if `needsEnd`. Rejects with
   * UNAVAILABLE, whose text says that nothing was written.
   */
  beginWrite(needsEnd: boolean): Promise<void>;
  /** Whether `shardRevision` of `shard` is sealed. */
  isSealed(shard: number, shardRevision: number): boolean;
  /**
   * The compaction for which this timeline was pruned last; 0 before. The revisions in the store's state at `prunedAt`, and all
   * later ones, have kept their places. Others may map to a lower revision.
   */
  readonly prunedAt: number;
  /**
   * Seals a shard revision. Rejects with UNAVAILABLE when the host cannot be reached; what was proposed is sealed later all
   * the same. `written` means that the shard revision is a write through this proxy, so that it is proposed immediately. A
   * read first waits a few milliseconds for another proxy's entry. Hot callers check `isSealed` first.
   */
  seal(shard: number, shardRevision: number, written: boolean): Promise<void>;
  /**
   * True for a sole store: one shard, which is also the timeline host, and no entry in the log yet. All revisions of the shard are
   * in the timeline without an entry. The first entry ends it.
   */
  readonly isSole: boolean;
  /**
   * Tells that `shard` has carried out, at `shardRevision`, a transaction that compared gen. In a sole store this seals
   * `shardRevision`: whoever ends the sole store raises gen, so it was one at that moment.
   */
  wrote(shard: number, shardRevision: number): void;
  /**
   * For a put on `shard` that is sent now. Calls `send` once, in this turn of the event loop, with the entry that the put should
   * carry; undefined if it is better sealed by an append. Then the put is sealed by `whenSealed` as usual. The caller calls
   * `settle` before that.
   */
  withEntry(shard: number, send: (entry: CarriedEntry | undefined) => void): void;
  /** `seal` without a promise, for hot callers. Calls `done` once, immediately if the shard revision is sealed already. */
  whenSealed(shard: number, shardRevision: number, written: boolean, done: Sealed): void;
  /**
   * Begins, for a linearizable call on `shard`, the read of the log's end that the call's header has to wait for, so that it
   * covers every revision acknowledged before. All calls of one turn of the event loop share a read. Calls on the timeline
   * host need none, because all earlier entries are folded when their shard revision is sealed. Nor do relaxed reads.
   */
  beginRead(shard: number): LogEnd;
  /** Announces a linearizable read of `shard` that leaves at the end of this turn and then calls `carryEnd`. */
  announceRead(shard: number): void;
  /**
   * Called for an announced read when it leaves. If its shard is the host, its answer replaces this turn's read of the log's
   * end. The caller must call the result exactly once. Undefined when no call waits for the end.
   */
  carryEnd(shard: number): EndCarrier | undefined;
  /** `beginRead` for a call that reads all of `shards`. */
  beginScan(shards: readonly number[]): LogEnd;
  /** `whenSealed` for the answer to a call that changed nothing. `done` also waits for `end`. */
  whenRead(shard: number, shardRevision: number, end: LogEnd, done: Sealed): void;
  /** Reads the log's end linearizably and folds up to it. Then `head` is at or above every write answered before the call. */
  sync(): Promise<void>;
  /** `sync` for the header of an answer that comes from no single shard. Resolves immediately with relaxed reads. */
  refresh(): Promise<void>;
  /** Notes that the shard of a sole store was compacted at `revision`. Does nothing in any other store. */
  compacted(revision: number): void;
  /** Logs a compaction at `revision`. Resolves to true when this call's entry took effect, to false when it was late. */
  compact(revision: number): Promise<boolean>;
  /** Current placements of leases. */
  readonly placements: Placements;
  /**
   * Position of the newest change at which leases have lost their parts on this shard, because a plan has removed it; 0 if there
   * was none since the log was loaded.
   */
  partsForgottenAt(shard: number): number;
  /** Logs that a lease gets a part on `shard`. Resolves when the entry is folded here. */
  place(lease: bigint, shard: number): Promise<void>;
  /** Logs that a lease no longer has any parts. */
  unplace(lease: bigint): Promise<void>;
  /**
   * Locates keys. Always the same object, which answers by what is folded at the moment of the call. While there was no plan,
   * it answers as the router of the store's map.
   */
  readonly locator: Locator;
  /** Where keys are, as far as it is folded. Not to be changed, nor kept beyond this turn of the event loop. */
  readonly placement: Readonly<PlacementState>;
  /**
   * Position of the newest valid change of the placement that is folded here; 0 before the first. gen on a shard is never
   * above the position of a valid change, so a write that was chosen and translated now may compare gen with this position. It
   * does not change between changes, so callers can cache what they derive from the placement by it.
   */
  readonly placementPosition: number;
  /**
   * All shard revisions of `shard` that clients see as `revision`: those of its imports, and its own write if it has one. For
   * EQUAL compares on shards with imports.
   */
  shardRevisionsOf(revision: number, shard: number): readonly number[];
  /** True when some shard has imports, so that `shardRevisionsOf` and `versionOffset` matter. */
  readonly hasImports: boolean;
  /** The number to add to the `version` of a key of `shard` that was created at the shard revision `life`; mostly 0. */
  versionOffset(shard: number, life: number): number;
  /**
   * Logs a change of the placement, and in the same entry the seals of `seals`, which take effect before it. Resolves when the
   * entry is folded here: to its position if the change was valid, otherwise to undefined. The change takes effect at most
   * once. While the host is away, the call waits, and an append with an unknown outcome is settled before another. Rejects
   * with UNAVAILABLE if the base of a store's first change cannot be written, if the timeline ends, and if the log had to be
   * reloaded, so that the outcome is not known; then `placement` shows it.
   */
  proposeChange(change: Change, seals?: Seals): Promise<number | undefined>;
  /** Calls `listener` after each fold, thus after each change of the placement. Returns a function that removes the listener. */
  onAdvance(listener: () => void): () => void;
  /** Highest Raft term in the log as far as it is folded, for `header.raft_term`; 0 at first. */
  readonly raftTerm: number;
}
