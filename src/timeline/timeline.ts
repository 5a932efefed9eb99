// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import type { Change } from "../reshard/change.js";
import type { Locator } from "../reshard/locator.js";
import type { PlacementState } from "../reshard/placement.js";
import { AbandonedError } from "../shard/errors.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { isTooLarge } from "../status/tooLarge.js";
import { turnTime } from "../turn/clock.js";
import { Changes } from "./changes.js";
import type { Entry, LeaseOp } from "./entry.js";
import type { FoldedLog } from "./foldedLog.js";
import { proxyOf } from "./keys.js";
import { FOLDED, folded, LogEnds, unreadable } from "./logEnds.js";
import type { LogOptions } from "./logOptions.js";
import { Operations } from "./operations.js";
import { Pace } from "./pace.js";
import type { TimelineStats } from "./stats.js";
import type { StoreFold } from "./storeFold.js";
import { TimelineLog } from "./timelineLog.js";
import type { CarriedEntry, EndCarrier, LogEnd, Placements, Run, Sealed, Seals, Timeline } from "./view.js";

/**
 * How long a read that sees an unsealed shard revision waits for the writer's entry before it proposes one itself. Also
 * long enough for the host's own log revisions, whose watch events are about to arrive.
 */
const READ_WAIT_MS = 4;
/** Shortest and longest pause after a failed append, before jitter. */
const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1_000;
/** How long a write waits for a host that is away before it is refused. */
const HOST_WAIT_MS = 1_500;
/** Interval between checks of whether a host that was away is back. */
const HOST_POLL_MS = 25;
/** Longest pause between two reads of a host that is away. Well below the time that a write waits for it. */
const MAX_PROBE_BACKOFF_MS = 250;
/** Pause between attempts to find out what became of a change of the placement, before jitter. */
const UNKNOWN_CHANGE_RETRY_MS = 100;

/**
 * The timeline of one proxy: the fold of the log, and the calls that wait for seals.
 *
 * At most one append is in flight. All that is proposed meanwhile goes into the next one (group commit).
 */
export class SharedTimeline implements Timeline {
  readonly log: TimelineLog;
  private readonly folded: Readonly<FoldedLog>;
  private readonly runtime: LogOptions["runtime"];
  /** Shard revisions for the next entry, by shard. */
  private pendingReached = new Map<number, number>();
  /** The highest shard revision of each shard that is pending or in flight. */
  private readonly proposed: number[];
  /** Waiters by shard. */
  private readonly sealWaiters: SealWaiter[][];
  private readonly operations = new Operations();
  private readonly changes = new Changes();
  private readonly pace = new Pace();
  private appending = false;
  /** True while a put that carries its entry is in flight. */
  private carrying = false;
  /** The only put of this turn of the event loop that could carry its entry. */
  private lonePut: LonePut | undefined;
  /** True from the first such put of this turn until its end. */
  private hasPut = false;
  /** Milliseconds before the next append after a failed one; 0 after a successful one. */
  private backoff = 0;
  /** Stays true only while something is pending, because the next append shows when the host has space again. */
  isHostFull = false;
  /**
   * Why the last append failed; undefined once the host has answered again. While something is pending, only an append
   * counts as an answer, because a host with a stuck disk still serves reads.
   */
  private appendFailure: StatusError | undefined;
  /** Why the last read of the log's end failed; undefined once the host has answered again. */
  private readFailure: StatusError | undefined;
  /** Writes that wait for the host. */
  private held: HeldWrite[] = [];
  /** Why the timeline has failed permanently, or was closed. */
  private failure: StatusError | undefined;
  private closed = false;
  private readonly listeners = new Set<() => void>();
  private readonly ends: LogEnds;
  /** What `hostEnd` returns for one host. */
  private endOfHost: { readonly hosts: number; readonly end: LogEnd } | undefined;
  /** True when headers of reads may be older than what other proxies have acknowledged. */
  relaxedReads = false;
  constructor(
    shardCount: number,
    options: LogOptions,
    /** Called once when the timeline fails permanently, because the host lost data. All later calls reject. */
    private readonly onFailure: (error: StatusError) => void = () => {},
  ) {
    this.runtime = options.runtime;
    this.proposed = new Array<number>(shardCount).fill(0);
    this.sealWaiters = Array.from({ length: shardCount }, () => []);
    this.log = this.createLog(options, {
      applied: (key, result) => {
        this.pace.note(proxyOf(key), this.runtime.now());
        this.operations.applied(key, result);
        this.changes.applied(key, result);
      },
      skipped: () => this.changes.skipped(),
      reloaded: () => this.operations.reloaded(this.compactRevision, this.placements),
      advanced: () => this.advanced(),
      endRead: (error) => this.endRead(error),
      failed: (error) => this.fail(error),
    });
    this.folded = this.log.folded;
    this.ends = new LogEnds(() => this.log.sync(), options.runtime.soon, this.log.stats);
  }

  /** Loads the log, or begins one. Rejects with UNAVAILABLE when a retry may succeed, and with other codes when not. */
  async open(): Promise<void> {
    await this.log.open();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.log.close();
    this.failure ??= new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down");
    this.rejectAll(this.failure);
  }

  /** Overridden by the simulation, to use a log with a mutation. */
  protected createLog(...args: ConstructorParameters<typeof TimelineLog>): TimelineLog {
    return new TimelineLog(...args);
  }

  get stats(): TimelineStats {
    return this.log.stats;
  }

  /** Number of other processes that have appended an entry in the last minute. */
  get otherProposers(): number {
    return this.log.otherProposers;
  }

  private get fold(): StoreFold {
    return this.folded.fold;
  }

  /** Index of the shard that is the timeline host; -1 when the host is not a shard. */
  get hostShard(): number {
    return this.folded.hostShard;
  }

  get locator(): Locator {
    return this.log.locator;
  }

  get placement(): Readonly<PlacementState> {
    return this.fold.store.placement;
  }

  get placementPosition(): number {
    return this.fold.store.placement.position;
  }

  get hasImports(): boolean {
    return !this.fold.store.placement.twins.isEmpty;
  }

  shardRevisionsOf(revision: number, shard: number): readonly number[] {
    return this.fold.shardRevisionsOf(revision, shard);
  }

  versionOffset(shard: number, life: number): number {
    return this.fold.versionOffset(shard, life);
  }

  get head(): number {
    return this.fold.head;
  }

  get compactRevision(): number {
    return this.fold.compactRevision;
  }

  get raftTerm(): number {
    return this.folded.raftTerm;
  }

  get placements(): Placements {
    return this.fold.placements;
  }

  partsForgottenAt(shard: number): number {
    return this.fold.partsForgottenAt(shard);
  }

  cut(shard: number): number {
    return this.fold.cut(shard);
  }

  cutAt(revision: number, shard: number): number {
    return this.fold.cutAt(revision, shard);
  }

  lastAt(revision: number, shard: number): number {
    return this.fold.lastAt(revision, shard);
  }

  toRevision(shard: number, shardRevision: number): number {
    return this.fold.toRevision(shard, shardRevision);
  }

  toShardRevision(revision: number, shard: number): number | undefined {
    return this.fold.toShardRevision(revision, shard);
  }

  readRevision(shard: number, shardRevision: number): number {
    return this.fold.readRevision(shard, shardRevision);
  }

  runAt(revision: number): Run {
    return this.fold.runAt(revision);
  }

  onAdvance(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  isSealed(shard: number, shardRevision: number): boolean {
    return shardRevision <= this.fold.cut(shard);
  }

  seal(shard: number, shardRevision: number, written: boolean): Promise<void> {
    if (this.isSealed(shard, shardRevision)) return DONE;
    return new Promise((resolve, reject) => {
      this.whenSealed(shard, shardRevision, written, (error) =>
        error === undefined ? resolve() : reject(error),
      );
    });
  }

  whenSealed(shard: number, shardRevision: number, written: boolean, done: Sealed): void {
    if (this.failure !== undefined || this.isSealed(shard, shardRevision)) {
      done(this.isSealed(shard, shardRevision) ? undefined : this.failure);
      return;
    }
    if (this.fold.isSole) {
      this.whenReached(shard, shardRevision, done);
      return;
    }
    this.waitersOf(shard).push({ shardRevision, since: turnTime(), done });
    if (shardRevision <= this.proposed[shard]!) return;
    if (written) {
      this.propose(shard, shardRevision);
      return;
    }
    this.runtime.timer(READ_WAIT_MS, () => {
      if (!this.isSealed(shard, shardRevision)) this.propose(shard, shardRevision);
    });
  }

  get isSole(): boolean {
    return this.fold.isSole;
  }

  wrote(_shard: number, shardRevision: number): void {
    if (this.fold.isSole) this.log.reach(shardRevision);
  }

  compacted(revision: number): void {
    if (this.fold.isSole) this.fold.compactSole(revision);
  }

  withEntry(shard: number, send: (entry: CarriedEntry | undefined) => void): void {
    if (shard !== this.hostShard || !this.mayCarry) {
      send(undefined);
      return;
    }
    if (this.hasPut) {
      const first = this.lonePut;
      this.lonePut = undefined;
      first?.send(undefined);
      send(undefined);
      return;
    }
    this.hasPut = true;
    this.lonePut = { shard, send };
    this.runtime.soon(this.sendLonePut);
  }

  private readonly sendLonePut = (): void => {
    const put = this.lonePut;
    this.lonePut = undefined;
    this.hasPut = false;
    // The log may have moved since.
    put?.send(put.shard === this.hostShard && this.mayCarry ? this.carry() : undefined);
  };

  /**
   * Whether a put on the host should carry its entry. One append for many writes costs less than an entry for each of them, so
   * only while nothing else waits for an append. Overridden by the simulation.
   */
  protected get mayCarry(): boolean {
    return (
      !this.appending &&
      !this.carrying &&
      !this.closed &&
      this.failure === undefined &&
      this.log.canCarry &&
      this.pause() === 0
    );
  }

  private carry(): CarriedEntry {
    const { hostShard } = this;
    const { fields, settle } = this.log.carry();
    this.carrying = true;
    return {
      fields,
      settle: (response) => {
        this.carrying = false;
        const { committed, revision } = settle(response);
        if (!committed) return;
        this.stats.carried++;
        // It is in the log, even if it is not folded yet. So nobody has to propose it.
        this.learn(hostShard);
        this.proposed[hostShard] = Math.max(revision, this.proposed[hostShard]!);
      },
    };
  }

  /**
   * `whenSealed` for a sole store. The log's end is read: if the store is still a sole one there, it was one at `shardRevision`,
   * which is not newer.
   */
  private whenReached(shard: number, shardRevision: number, done: Sealed): void {
    this.ends.join().whenFolded((error) => {
      if (error !== undefined) done(this.failure ?? unavailable(error));
      else if (this.fold.isSole && !this.isSealed(shard, shardRevision)) done(ranBack(shardRevision));
      else this.whenSealed(shard, shardRevision, true, done);
    });
  }

  private waitersOf(shard: number): SealWaiter[] {
    this.learn(shard);
    return this.sealWaiters[shard]!;
  }

  /** A plan may have added the shard since. */
  private learn(shard: number): void {
    while (shard >= this.sealWaiters.length) {
      this.sealWaiters.push([]);
      this.proposed.push(0);
    }
  }

  get isHostAway(): boolean {
    return this.failure !== undefined || this.hostFailure !== undefined || !this.log.isConnected;
  }

  /** Why the host counts as away although it may be connected. */
  private get hostFailure(): StatusError | undefined {
    return this.appendFailure ?? this.readFailure;
  }

  whenWritable(done: Sealed): void {
    if (this.failure !== undefined || !this.isHostAway) done(this.failure);
    else if (this.held.push({ until: turnTime() + HOST_WAIT_MS, done }) === 1) this.pollHost();
  }

  private pollHost(): void {
    this.runtime.timer(HOST_POLL_MS, () => {
      const now = turnTime();
      const away = this.failure === undefined && this.isHostAway;
      // All writes wait equally long, so those that time out are at the front.
      const next = away ? this.held.findIndex(({ until }) => until > now) : -1;
      const settled = this.held.splice(0, next < 0 ? this.held.length : next);
      if (this.held.length > 0) this.pollHost();
      const refusal = away ? notWritten(this.log.hostLabel, this.hostFailure) : this.failure;
      for (const { done } of settled) done(refusal);
    });
  }

  async beginWrite(needsEnd: boolean): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.whenWritable((error) => (error === undefined ? resolve() : reject(error)));
    });
    if (this.relaxedReads && !needsEnd) return;
    try {
      await this.sync();
    } catch (reason) {
      throw this.failure ?? notWritten(this.log.hostLabel, StatusError.from(reason));
    }
  }

  beginRead(shard: number): LogEnd {
    if (this.relaxedReads) return FOLDED;
    return shard === this.hostShard ? this.hostEnd() : this.readEnd();
  }

  announceRead(shard: number): void {
    if (shard === this.hostShard) this.ends.expectCarrier(shard);
  }

  carryEnd(shard: number): EndCarrier | undefined {
    const isHost = shard === this.hostShard;
    const end = isHost || this.ends.isCarrier(shard) ? this.ends.take() : undefined;
    if (end === undefined) return undefined;
    // The log has moved since the read was announced.
    if (!isHost) {
      this.ends.transmit(end);
      return undefined;
    }
    const { hosts } = this.folded;
    return (shardRevision) => {
      if (shardRevision === undefined) this.ends.transmit(end);
      // A seal of the host's revision that fails must not fail calls that only need the log's end.
      else {
        this.whenSealed(shard, shardRevision, false, (error) => {
          if (error === undefined && this.folded.hosts === hosts) end.settle(undefined);
          else this.ends.transmit(end);
        });
      }
    };
  }

  beginScan(shards: readonly number[]): LogEnd {
    if (this.relaxedReads) return FOLDED;
    return shards.includes(this.hostShard) ? this.hostEnd() : this.readEnd();
  }

  /**
   * The log's end for a call whose answer from the host includes it. If the log has moved when the answer is sealed, the host was
   * perhaps an old one already, so the end is read.
   */
  private hostEnd(): LogEnd {
    const { hosts } = this.folded;
    if (this.endOfHost?.hosts === hosts) return this.endOfHost.end;
    const end: LogEnd = {
      whenFolded: (done) => {
        if (this.folded.hosts === hosts) done(undefined);
        else this.readEnd().whenFolded(done);
      },
    };
    this.endOfHost = { hosts, end };
    return end;
  }

  whenRead(shard: number, shardRevision: number, end: LogEnd, done: Sealed): void {
    this.whenSealed(shard, shardRevision, false, (error) => {
      if (error === undefined) end.whenFolded(done);
      else done(error);
    });
  }

  sync(): Promise<void> {
    return folded(this.readEnd());
  }

  refresh(): Promise<void> {
    return this.relaxedReads ? DONE : this.sync();
  }

  private readEnd(): LogEnd {
    return this.failure === undefined ? this.ends.join() : unreadable(this.failure);
  }

  async compact(revision: number): Promise<boolean> {
    await this.log.endSole();
    if (this.failure !== undefined) throw this.failure;
    const compacted = this.operations.compact(revision);
    this.startAppending();
    return compacted;
  }

  place(lease: bigint, shard: number): Promise<void> {
    if (this.placements.get(lease)?.has(shard)) return DONE;
    return this.changeLease({ kind: "place", lease, shard });
  }

  unplace(lease: bigint): Promise<void> {
    if (!this.placements.has(lease)) return DONE;
    return this.changeLease({ kind: "unplace", lease });
  }

  private async changeLease(op: LeaseOp): Promise<void> {
    await this.log.endSole();
    if (this.failure !== undefined) throw this.failure;
    const changed = this.operations.changeLease(op);
    this.startAppending();
    return changed;
  }

  async proposeChange(change: Change, seals: Seals = NO_SEALS): Promise<number | undefined> {
    if (this.failure !== undefined) throw this.failure;
    await this.log.requirePlacement();
    if (this.failure !== undefined) throw this.failure;
    const changed = this.changes.propose(change, seals);
    this.startAppending();
    return changed;
  }

  /**
   * Finds out what became of the change in the entry `key`, whose append at `guard` had an unknown outcome. A newer base decides
   * it: either the entry is folded by then, or it will never be.
   */
  private settleChange(key: string, guard: number): void {
    const again = () => {
      const delay = UNKNOWN_CHANGE_RETRY_MS * (0.5 + this.runtime.random());
      this.runtime.timer(delay, () => {
        if (this.failure === undefined && this.changes.isOpen(key)) this.settleChange(key, guard);
      });
    };
    this.log.fence(guard).then(() => this.proposeAgain(key), again);
  }

  private proposeAgain(key: string): void {
    this.changes.putBack(key);
    this.startAppending();
  }

  private propose(shard: number, shardRevision: number): void {
    if (shardRevision <= this.proposed[shard]!) return;
    this.proposed[shard] = shardRevision;
    this.pendingReached.set(shard, shardRevision);
    this.startAppending();
  }

  private startAppending(): void {
    if (this.appending || this.closed || this.failure !== undefined) return;
    this.appending = true;
    this.appendSoon();
  }

  private appendSoon(): void {
    const ms = this.isUrgent ? 0 : this.pause();
    // All other proposals of this turn go into the same entry.
    if (ms === 0) this.runtime.soon(this.appendPending);
    else this.runtime.timer(ms, this.appendPending);
  }

  /** Milliseconds to wait before an append. Overridden by the simulation. */
  protected pause(): number {
    return this.pace.pause(this.runtime.now(), this.runtime.random());
  }

  /** True if something is pending that the entries of others cannot bring about. */
  private get isUrgent(): boolean {
    return !this.operations.isEmpty || this.changes.next !== undefined;
  }

  /** Appends until nothing is pending. Retries while the host is away, so that everything is sealed eventually. */
  private readonly appendPending = (): void => {
    const entry = this.closed || this.failure !== undefined ? undefined : this.takePending();
    if (entry === undefined && this.hostFailure !== undefined && this.failure === undefined) {
      this.probeHost();
      return;
    }
    if (entry === undefined) {
      this.backoff = 0;
      this.isHostFull = false;
      this.appending = false;
      return;
    }
    const key = this.log.nextKey();
    const { guard } = this.log;
    if (entry.compact > 0) this.operations.sent(key, entry.compact);
    if (entry.change !== undefined) this.changes.sent(key);
    const since = turnTime();
    this.log.append(key, entry, (error, landed) => {
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
        this.stats.appendsFailed++;
        this.putBack(key, entry);
        this.appendFailure = this.isHostFull ? undefined : error;
        this.rejectAll(unavailable(error));
        this.appendLater(MAX_BACKOFF_MS);
        return;
      }
      this.appendFailure = undefined;
      this.readFailure = undefined;
      this.backoff = 0;
      if (landed) this.stats.appends.observe(turnTime() - since);
      else {
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

  /** A host that does not answer reads will not answer appends, so writes wait until a call succeeds. */
  private endRead(error: StatusError | undefined): void {
    this.readFailure = error;
    if (error !== undefined) this.startAppending();
  }

  private takePending(): Entry | undefined {
    const proposal = this.changes.next;
    if (this.pendingReached.size === 0 && this.operations.isEmpty && proposal === undefined) return undefined;
    const reached = new Map<number, number>();
    for (const [shard, shardRevision] of this.pendingReached) {
      if (!this.isSealed(shard, shardRevision)) reached.set(shard, shardRevision);
    }
    this.pendingReached.clear();
    for (const [shard, shardRevision] of proposal?.seals ?? NO_SEALS) {
      if (!this.isSealed(shard, shardRevision))
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
      this.pendingReached.set(shard, Math.max(shardRevision, this.pendingReached.get(shard) ?? 0));
    }
    this.operations.putBack(key, entry.leases);
  }

  private advanced(): void {
    for (let shard = 0; shard < this.sealWaiters.length; shard++) {
      const waiters = this.sealWaiters[shard]!;
      if (waiters.length === 0) continue;
      const cut = this.fold.cut(shard);
      const sealed: SealWaiter[] = [];
      let kept = 0;
      for (const waiter of waiters) {
        if (waiter.shardRevision <= cut) sealed.push(waiter);
        else waiters[kept++] = waiter;
      }
      waiters.length = kept;
      const now = turnTime();
      // Not before the list is updated: a callback may add waiters.
      for (const { since, done } of sealed) {
        this.stats.seals.observe(now - since);
        done(undefined);
      }
    }
    // The change before it is folded now.
    if (this.changes.next !== undefined) this.startAppending();
    for (const listener of this.listeners) listener();
  }

  private fail(error: StatusError): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.rejectAll(error);
    this.onFailure(error);
  }

  /** Rejects all waiters. What they proposed stays pending. */
  private rejectAll(error: StatusError): void {
    const sealWaiters = this.sealWaiters.flatMap((list) => list.splice(0));
    this.operations.rejectAll(error);
    if (this.failure !== undefined) this.changes.rejectAll(this.failure);
    for (const { done } of sealWaiters) done(error);
  }
}

const DONE = Promise.resolve();
const NO_SEALS: Seals = new Map();

interface SealWaiter {
  readonly shardRevision: number;
  readonly done: Sealed;
  /** `turnTime()` when the wait began. */
  readonly since: number;
}

interface LonePut {
  readonly shard: number;
  readonly send: (entry: CarriedEntry | undefined) => void;
}

interface HeldWrite {
  /** `turnTime()` at which the write is refused. */
  readonly until: number;
  readonly done: Sealed;
}

/** The error for writes that were refused because the host is away. */
function notWritten(host: string, reason: StatusError | undefined): StatusError {
  // Without the append's own "whether it took effect", which would seem to be about this write.
  const known = reason?.message.split("; whether ")[0]?.replace(/^etcd-braid: /, "");
  const why = known ?? `${host} is not connected`;
  const text = `etcd-braid: the timeline host cannot be reached: ${why}; nothing was written`;
  return new StatusError(Code.UNAVAILABLE, text, { cause: reason });
}

/** The error for an answer at a revision that the shard does not have a moment later. */
function ranBack(shardRevision: number): StatusError {
  const text = `etcd-braid: the shard has responded at its revision ${shardRevision}, but its newest revision is lower`;
  return new StatusError(Code.DATA_LOSS, text);
}

/** The error for calls that wait for a seal, after a failed append. */
function unavailable(reason: StatusError): StatusError {
  const { code, message } = reason;
  if (code === Code.DATA_LOSS) return new StatusError(code, message);
  // Not etcd's own NOSPACE error, because the write itself took effect and is only not sealed.
  const text = etcd.noSpace.is(reason)
    ? `the timeline host takes no more entries until it has space again: ${message}`
    : `the timeline host cannot be reached: ${message}`;
  return new StatusError(Code.UNAVAILABLE, `etcd-braid: ${text}`, { cause: reason });
}
