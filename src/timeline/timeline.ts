import type { Change } from "../reshard/change.js";
import type { Locator } from "../reshard/locator.js";
import type { PlacementState } from "../reshard/placement.js";
import { Code, StatusError } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import { Appender } from "./appender.js";
import type { LeaseOp } from "./entry.js";
import { notWritten, ranBack, unavailable } from "./errors.js";
import type { FoldedLog } from "./foldedLog.js";
import { HeldWrites } from "./heldWrites.js";
import { proxyOf } from "./keys.js";
import { FOLDED, folded, LogEnds, unreadable } from "./logEnds.js";
import type { LogOptions } from "./logOptions.js";
import { LonePuts } from "./lonePuts.js";
import { Pace } from "./pace.js";
import { SealWaiters } from "./sealWaiters.js";
import type { TimelineStats } from "./stats.js";
import type { StoreFold } from "./storeFold.js";
import { TimelineLog } from "./timelineLog.js";
import type { CarriedEntry, EndCarrier, LogEnd, Placements, Run, Sealed, Seals, Timeline } from "./view.js";

/**
 * How long a read that sees an unsealed shard revision waits for the writer's entry before it proposes one itself. Also
 * long enough for the host's own log revisions, whose watch events are about to arrive.
 */
const READ_WAIT_MS = 4;

/** The timeline of one proxy: what it has folded of the log, and the calls that wait for more. */
export class SharedTimeline implements Timeline {
  readonly log: TimelineLog;
  private readonly runtime: Runtime;
  private readonly folded: Readonly<FoldedLog>;
  private readonly appender: Appender;
  private readonly waiters: SealWaiters;
  private readonly held: HeldWrites;
  private readonly pace = new Pace();
  private readonly ends: LogEnds;
  /** What `hostEnd` returns for one host. */
  private endOfHost: { readonly hosts: number; readonly end: LogEnd } | undefined;
  private readonly lonePuts: LonePuts;
  /** True while a put that carries its entry is in flight. */
  private carrying = false;
  /** Why the timeline has failed permanently, or was closed. */
  private failure: StatusError | undefined;
  private closed = false;
  private readonly listeners = new Set<() => void>();
  /** True when headers of reads may be older than what other proxies have acknowledged. */
  relaxedReads = false;

  constructor(
    shardCount: number,
    options: LogOptions,
    /** Called once when the timeline fails permanently, because the host lost data. All later calls reject. */
    private readonly onFailure: (error: StatusError) => void = () => {},
  ) {
    const { runtime } = options;
    this.runtime = runtime;
    this.log = this.createLog(options, {
      applied: (key, result) => {
        this.pace.note(proxyOf(key), runtime.now());
        this.appender.applied(key, result);
      },
      skipped: () => this.appender.skipped(),
      reloaded: () => this.appender.reloaded(),
      advanced: () => this.advanced(),
      endRead: (error) => this.appender.endRead(error),
      failed: (error) => this.fail(error),
    });
    this.folded = this.log.folded;
    this.waiters = new SealWaiters(shardCount, this.log.stats);
    this.appender = new Appender(
      shardCount,
      this.log,
      runtime,
      () => this.pause(),
      (error) => this.waiters.rejectAll(error),
    );
    this.held = new HeldWrites(
      runtime,
      () => this.failure === undefined && this.isHostAway,
      () => this.refusal,
    );
    this.lonePuts = new LonePuts(runtime, (shard) =>
      // The log may have moved since the put was added.
      this.mayCarryOn(shard) ? this.carry() : undefined,
    );
    this.ends = new LogEnds(() => this.log.sync(), runtime.soon, this.log.stats);
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
    this.end(this.failure);
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

  get prunedAt(): number {
    return this.log.base.prunedAt;
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
    this.waiters.add(shard, shardRevision, done);
    if (written) {
      this.appender.propose(shard, shardRevision);
      return;
    }
    if (this.appender.isProposed(shard, shardRevision)) return;
    this.runtime.timer(READ_WAIT_MS, () => {
      if (!this.isSealed(shard, shardRevision)) this.appender.propose(shard, shardRevision);
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
    if (this.mayCarryOn(shard)) this.lonePuts.add(shard, send);
    else send(undefined);
  }

  private mayCarryOn(shard: number): boolean {
    return shard === this.hostShard && this.mayCarry;
  }

  /**
   * Whether a put on the host should carry its entry. One append for many writes costs less than an entry for each of them, so
   * only while nothing else waits for an append. Overridden by the simulation.
   */
  protected get mayCarry(): boolean {
    return (
      !this.appender.isAppending &&
      !this.carrying &&
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
        // It is in the log, even if it is not folded yet.
        this.appender.noteProposed(hostShard, revision);
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

  get isHostAway(): boolean {
    return this.failure !== undefined || this.appender.hostFailure !== undefined || !this.log.isConnected;
  }

  get isHostFull(): boolean {
    return this.appender.isHostFull;
  }

  whenWritable(done: Sealed): void {
    if (this.failure !== undefined || !this.isHostAway) done(this.failure);
    else this.held.add(done);
  }

  /** Why a write may not be sent now; undefined if it may. */
  private get refusal(): StatusError | undefined {
    if (this.failure !== undefined) return this.failure;
    return this.isHostAway ? notWritten(this.log.hostLabel, this.appender.hostFailure) : undefined;
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
    return this.appender.compact(revision);
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
    return this.appender.changeLease(op);
  }

  async proposeChange(change: Change, seals: Seals = NO_SEALS): Promise<number | undefined> {
    if (this.failure !== undefined) throw this.failure;
    await this.log.requirePlacement();
    if (this.failure !== undefined) throw this.failure;
    return this.appender.change(change, seals);
  }

  /** Milliseconds to wait before an append. Overridden by the simulation. */
  protected pause(): number {
    return this.pace.pause(this.runtime.now(), this.runtime.random());
  }

  private advanced(): void {
    this.waiters.settle(this.folded.fold);
    this.appender.advanced();
    for (const listener of this.listeners) listener();
  }

  private fail(error: StatusError): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.end(error);
    this.onFailure(error);
  }

  /** Rejects all that waits. */
  private end(error: StatusError): void {
    this.appender.stop(error);
    this.waiters.rejectAll(error);
  }
}

const DONE = Promise.resolve();
const NO_SEALS: Seals = new Map();
