import type { Change } from "../reshard/change.js";
import { AbandonedError } from "../shard/errors.js";
import type { StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { isTooLarge } from "../status/tooLarge.js";
import { turnTime } from "../turn/clock.js";
import type { Runtime } from "../turn/runtime.js";
import { Changes } from "./changes.js";
import type { Entry, LeaseOp } from "./entry.js";
import { unavailable } from "./errors.js";
import type { Applied } from "./fold.js";
import { Operations } from "./operations.js";
import type { TimelineLog } from "./timelineLog.js";
import type { Seals } from "./view.js";

/** Shortest and longest pause after a failed append, before jitter. */
const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1_000;
/** Longest pause between two reads of a host that is away. Well below the time that a write waits for it. */
const MAX_PROBE_BACKOFF_MS = 250;
/** Pause between attempts to find out what became of a change of the placement, before jitter. */
const UNKNOWN_CHANGE_RETRY_MS = 100;

/**
 * Appends what this proxy proposes: seals, operations, and changes of the placement.
 *
 * At most one append is in flight. All that is proposed meanwhile goes into the next one (group commit).
 */
export class Appender {
  /** True while something is pending or in flight, or the host is away. */
  isAppending = false;
  /** Stays true only while something is pending, because the next append shows when the host has space again. */
  isHostFull = false;
  /** Shard revisions for the next entry, by shard. */
  private readonly pending = new Map<number, number>();
  /** By shard, the highest shard revision that nobody here has to propose any more. */
  private readonly proposed: number[];
  private readonly operations = new Operations();
  private readonly changes = new Changes();
  /** Milliseconds before the next append after a failed one; 0 after a successful one. */
  private backoff = 0;
  /**
   * Why the last append failed; undefined once the host has answered again. While something is pending, only an append
   * counts as an answer, because a host with a stuck disk still serves reads.
   */
  private appendFailure: StatusError | undefined;
  /** Why the last read of the log's end failed; undefined once the host has answered again. */
  private readFailure: StatusError | undefined;
  private stopped = false;

  constructor(
    shardCount: number,
    private readonly log: Pick<
      TimelineLog,
      "append" | "fence" | "fold" | "guard" | "nextKey" | "readEnd" | "stats"
    >,
    private readonly runtime: Runtime,
    /** Milliseconds to wait before an append that is not urgent. */
    private readonly pause: () => number,
    /** Called with the error for calls that wait for a seal when an append has failed. Their seals stay pending. */
    private readonly failed: (error: StatusError) => void,
  ) {
    this.proposed = new Array<number>(shardCount).fill(0);
  }

  /** Why the host counts as away although it may be connected. */
  get hostFailure(): StatusError | undefined {
    return this.appendFailure ?? this.readFailure;
  }

  /** Rejects all that is proposed. Nothing is appended any more. */
  stop(error: StatusError): void {
    this.stopped = true;
    this.operations.rejectAll(error);
    this.changes.rejectAll(error);
  }

  // --- proposals ---------------------------------------------------------------------------------------

  /** Proposes the seal of a shard revision, unless it is proposed already. */
  propose(shard: number, shardRevision: number): void {
    if (this.isProposed(shard, shardRevision)) return;
    this.noteProposed(shard, shardRevision);
    this.pending.set(shard, shardRevision);
    this.start();
  }

  /** Whether the seal of a shard revision is pending, in flight or in the log. */
  isProposed(shard: number, shardRevision: number): boolean {
    return shardRevision <= (this.proposed[shard] ?? 0);
  }

  /** Notes a shard revision that nobody here has to propose, because its entry is in the log. */
  noteProposed(shard: number, shardRevision: number): void {
    // A plan may have added the shard since.
    while (shard >= this.proposed.length) this.proposed.push(0);
    this.proposed[shard] = Math.max(shardRevision, this.proposed[shard] ?? 0);
  }

  /** Resolves like `Timeline.compact`. */
  compact(revision: number): Promise<boolean> {
    const compacted = this.operations.compact(revision);
    this.start();
    return compacted;
  }

  /** Resolves when the operation has been folded. */
  changeLease(op: LeaseOp): Promise<void> {
    const changed = this.operations.changeLease(op);
    this.start();
    return changed;
  }

  /** Resolves like `Timeline.proposeChange`. */
  change(change: Change, seals: Seals): Promise<number | undefined> {
    const changed = this.changes.propose(change, seals);
    this.start();
    return changed;
  }

  // --- what the log tells --------------------------------------------------------------------------------

  /** See `LogEvents`. */
  applied(key: string, result: Applied): void {
    this.operations.applied(key, result);
    this.changes.applied(key, result);
  }

  /** See `LogEvents`. */
  skipped(): void {
    this.changes.skipped();
  }

  /** See `LogEvents`. */
  reloaded(): void {
    const { compactRevision, placements } = this.log.fold;
    this.operations.reloaded(compactRevision, placements);
  }

  /** See `LogEvents`. */
  advanced(): void {
    // The change before it is folded now.
    if (this.changes.next !== undefined) this.start();
  }

  /** See `LogEvents`. A host that does not answer reads will not answer appends, so writes wait until a call succeeds. */
  endRead(error: StatusError | undefined): void {
    this.readFailure = error;
    if (error !== undefined) this.start();
  }

  // --- appending ---------------------------------------------------------------------------------------

  private start(): void {
    if (this.isAppending || this.stopped) return;
    this.isAppending = true;
    this.appendSoon();
  }

  private appendSoon(): void {
    const ms = this.isUrgent ? 0 : this.pause();
    // All other proposals of this turn go into the same entry.
    if (ms === 0) this.runtime.soon(this.appendPending);
    else this.runtime.timer(ms, this.appendPending);
  }

  /** True if something is pending that the entries of others cannot bring about. */
  private get isUrgent(): boolean {
    return !this.operations.isEmpty || this.changes.next !== undefined;
  }

  /** Appends until nothing is pending. Retries while the host is away, so that everything is sealed eventually. */
  private readonly appendPending = (): void => {
    const entry = this.stopped ? undefined : this.takePending();
    if (entry === undefined && this.hostFailure !== undefined && !this.stopped) {
      this.probeHost();
      return;
    }
    if (entry === undefined) {
      this.backoff = 0;
      this.isHostFull = false;
      this.isAppending = false;
      return;
    }
    const key = this.log.nextKey();
    const { guard } = this.log;
    this.operations.sent(key, entry);
    if (entry.change !== undefined) this.changes.sent(key);
    const since = turnTime();
    this.log.append(key, entry, (error, isFolded) => {
      // Append again immediately, through another member. Entries may be logged twice, except for compactions: the second
      // would report that the revision was compacted before.
      if (error !== undefined && entry.change !== undefined) {
        if (isTooLarge(error)) {
          // Only because of the change. The host is not away for others.
          this.changes.refuse(key, error);
          this.putBack(key, entry);
          this.appendSoon();
          return;
        }
        this.settleChange(key, guard);
      }
      if (error instanceof AbandonedError && entry.compact === 0) {
        this.putBack(key, entry);
        this.runtime.soon(this.appendPending);
        return;
      }
      this.isHostFull = error !== undefined && etcd.noSpace.is(error);
      if (error !== undefined) {
        this.log.stats.appendsFailed++;
        this.putBack(key, entry);
        this.appendFailure = this.isHostFull ? undefined : error;
        const refusal = unavailable(error);
        this.operations.rejectAll(refusal);
        this.failed(refusal);
        this.appendLater(MAX_BACKOFF_MS);
        return;
      }
      this.appendFailure = undefined;
      this.readFailure = undefined;
      this.backoff = 0;
      if (isFolded !== undefined) {
        this.log.stats.appends.observe(turnTime() - since);
        this.operations.landed(key, isFolded, this.log.fold.placements);
      } else {
        this.putBack(key, entry);
        this.changes.putBack(key);
      }
      this.appendSoon();
    });
  };

  private appendLater(longest: number): void {
    this.backoff = Math.min(longest, this.backoff * 2 || MIN_BACKOFF_MS);
    this.runtime.timer(this.backoff * (0.5 + this.runtime.random()), this.appendPending);
  }

  /** Reads the log's end to find out whether the host answers again, when no append would. */
  private probeHost(): void {
    this.log.readEnd().then(
      () => {
        this.appendFailure = undefined;
        this.appendPending();
      },
      () => this.appendLater(MAX_PROBE_BACKOFF_MS),
    );
  }

  /**
   * Finds out what became of the change in the entry `key`, whose append at `guard` had an unknown outcome. A newer base decides
   * it: either the entry is folded by then, or it will never be.
   */
  private settleChange(key: string, guard: number): void {
    const again = () => {
      const delay = UNKNOWN_CHANGE_RETRY_MS * (0.5 + this.runtime.random());
      this.runtime.timer(delay, () => {
        if (!this.stopped && this.changes.isOpen(key)) this.settleChange(key, guard);
      });
    };
    this.log.fence(guard).then(() => this.proposeAgain(key), again);
  }

  private proposeAgain(key: string): void {
    this.changes.putBack(key);
    this.start();
  }

  private takePending(): Entry | undefined {
    const proposal = this.changes.next;
    if (this.pending.size === 0 && this.operations.isEmpty && proposal === undefined) return undefined;
    const { fold } = this.log;
    const reached = new Map<number, number>();
    for (const [shard, shardRevision] of this.pending) {
      if (shardRevision > fold.cut(shard)) reached.set(shard, shardRevision);
    }
    this.pending.clear();
    for (const [shard, shardRevision] of proposal?.seals ?? []) {
      if (shardRevision > fold.cut(shard))
        reached.set(shard, Math.max(shardRevision, reached.get(shard) ?? 0));
    }
    const leases = this.operations.takeLeases();
    const compact = this.operations.nextCompaction;
    if (proposal !== undefined) return { reached, leases, compact, raftTerm: 0, change: proposal.change };
    if (reached.size === 0 && leases.length === 0 && compact === 0) return undefined;
    return { reached, leases, compact, raftTerm: 0 };
  }

  private putBack(key: string, entry: Entry): void {
    for (const [shard, shardRevision] of entry.reached) {
      this.pending.set(shard, Math.max(shardRevision, this.pending.get(shard) ?? 0));
    }
    this.operations.putBack(key, entry.leases);
  }
}
