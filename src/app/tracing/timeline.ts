import type { Started, Tracing } from "../../ops/openTelemetry.js";
import type { Change } from "../../reshard/change.js";
import type { Locator } from "../../reshard/locator.js";
import type { PlacementState } from "../../reshard/placement.js";
import { StatusError } from "../../status/error.js";
import { FOLDED } from "../../timeline/logEnds.js";
import type {
  CarriedEntry,
  EndCarrier,
  LogEnd,
  Placements,
  Run,
  Sealed,
  Seals,
  Timeline,
} from "../../timeline/view.js";
import { current, end } from "./spans.js";

/** Adds a span to each wait within a traced call: for a seal, and for the log's end. */
export function traceTimeline(timeline: Timeline, tracing: Tracing): Timeline {
  return new TracedTimeline(timeline, tracing);
}

class TracedTimeline implements Timeline {
  constructor(
    private readonly timeline: Timeline,
    private readonly tracing: Tracing,
  ) {}

  whenSealed(shard: number, shardRevision: number, written: boolean, done: Sealed): void {
    const parent = current.getStore();
    const started = this.isSealed(shard, shardRevision) ? undefined : this.start("timeline seal");
    if (started === undefined) {
      this.timeline.whenSealed(shard, shardRevision, written, done);
      return;
    }
    this.timeline.whenSealed(shard, shardRevision, written, (error) => {
      end(started, error);
      current.run(parent!, done, error);
    });
  }

  seal(shard: number, shardRevision: number, written: boolean): Promise<void> {
    if (this.isSealed(shard, shardRevision)) return this.timeline.seal(shard, shardRevision, written);
    return new Promise((resolve, reject) => {
      this.whenSealed(shard, shardRevision, written, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  whenRead(shard: number, shardRevision: number, logEnd: LogEnd, done: Sealed): void {
    this.whenSealed(shard, shardRevision, false, (error) => {
      if (error === undefined) logEnd.whenFolded(done);
      else done(error);
    });
  }

  beginRead(shard: number): LogEnd {
    return this.traceEnd(this.timeline.beginRead(shard));
  }

  beginScan(shards: readonly number[]): LogEnd {
    return this.traceEnd(this.timeline.beginScan(shards));
  }

  sync(): Promise<void> {
    return this.traceSync(() => this.timeline.sync());
  }

  refresh(): Promise<void> {
    return this.traceSync(() => this.timeline.refresh());
  }

  beginWrite(needsEnd: boolean): Promise<void> {
    return this.traceSync(() => this.timeline.beginWrite(needsEnd));
  }

  withEntry(shard: number, send: (entry: CarriedEntry | undefined) => void): void {
    const parent = current.getStore();
    if (parent === undefined) this.timeline.withEntry(shard, send);
    else this.timeline.withEntry(shard, (entry) => current.run(parent, send, entry));
  }

  private start(name: string): Started | undefined {
    const parent = current.getStore();
    return parent && this.tracing.start(name, "internal", parent);
  }

  private traceEnd(logEnd: LogEnd): LogEnd {
    const started = logEnd === FOLDED ? undefined : this.start("timeline sync");
    if (started !== undefined) logEnd.whenFolded((error) => end(started, error));
    return logEnd;
  }

  private traceSync(sync: () => Promise<void>): Promise<void> {
    const started = this.start("timeline sync");
    const result = sync();
    if (started !== undefined) {
      result.then(
        () => end(started, undefined),
        (reason) => end(started, StatusError.from(reason)),
      );
    }
    return result;
  }

  // All other members are passed through.

  get head(): number {
    return this.timeline.head;
  }

  get compactRevision(): number {
    return this.timeline.compactRevision;
  }

  get prunedAt(): number {
    return this.timeline.prunedAt;
  }

  get isHostFull(): boolean {
    return this.timeline.isHostFull;
  }

  get isHostAway(): boolean {
    return this.timeline.isHostAway;
  }

  get placements(): Placements {
    return this.timeline.placements;
  }

  get locator(): Locator {
    return this.timeline.locator;
  }

  get placement(): Readonly<PlacementState> {
    return this.timeline.placement;
  }

  get placementPosition(): number {
    return this.timeline.placementPosition;
  }

  get hasImports(): boolean {
    return this.timeline.hasImports;
  }

  shardRevisionsOf(revision: number, shard: number): readonly number[] {
    return this.timeline.shardRevisionsOf(revision, shard);
  }

  versionOffset(shard: number, life: number): number {
    return this.timeline.versionOffset(shard, life);
  }

  proposeChange(change: Change, seals?: Seals): Promise<number | undefined> {
    return this.timeline.proposeChange(change, seals);
  }

  partsForgottenAt(shard: number): number {
    return this.timeline.partsForgottenAt(shard);
  }

  get isSole(): boolean {
    return this.timeline.isSole;
  }

  wrote(shard: number, shardRevision: number): void {
    this.timeline.wrote(shard, shardRevision);
  }

  compacted(revision: number): void {
    this.timeline.compacted(revision);
  }

  get raftTerm(): number {
    return this.timeline.raftTerm;
  }

  cut(shard: number): number {
    return this.timeline.cut(shard);
  }

  cutAt(revision: number, shard: number): number {
    return this.timeline.cutAt(revision, shard);
  }

  lastAt(revision: number, shard: number): number {
    return this.timeline.lastAt(revision, shard);
  }

  toRevision(shard: number, shardRevision: number): number {
    return this.timeline.toRevision(shard, shardRevision);
  }

  toShardRevision(revision: number, shard: number): number | undefined {
    return this.timeline.toShardRevision(revision, shard);
  }

  readRevision(shard: number, shardRevision: number): number {
    return this.timeline.readRevision(shard, shardRevision);
  }

  runAt(revision: number): Run {
    return this.timeline.runAt(revision);
  }

  whenWritable(done: Sealed): void {
    this.timeline.whenWritable(done);
  }

  isSealed(shard: number, shardRevision: number): boolean {
    return this.timeline.isSealed(shard, shardRevision);
  }

  announceRead(shard: number): void {
    this.timeline.announceRead(shard);
  }

  carryEnd(shard: number): EndCarrier | undefined {
    return this.timeline.carryEnd(shard);
  }

  compact(revision: number): Promise<boolean> {
    return this.timeline.compact(revision);
  }

  place(lease: bigint, shard: number): Promise<void> {
    return this.timeline.place(lease, shard);
  }

  unplace(lease: bigint): Promise<void> {
    return this.timeline.unplace(lease);
  }

  onAdvance(listener: () => void): () => void {
    return this.timeline.onAdvance(listener);
  }
}
