// Indices below are in range by construction; `!` keeps the hot loop free of checks.
import type { Change } from "../reshard/change.js";
import { Code, StatusError } from "../status/error.js";
import type { Entry, LeaseOp } from "./entry.js";
import { SegmentTable } from "./segments.js";
import { NO_SHARD, type Placements, type Run, type TimelineView } from "./view.js";

/** The state of a fold as plain data, as a base stores it. */
export interface FoldState {
  revision: number;
  cut: number[];
  /** Host revisions of the log itself above the host's cut, ascending. They get no revision. */
  hidden: number[];
  compactRevision: number;
  raftTerm: number;
  placements: Map<bigint, Set<number>>;
  table: SegmentTable;
  /** See `Fold.isSole`. */
  sole: boolean;
}

/** What an entry changed. */
export interface Applied {
  /** Whether the entry's compaction took effect: it was above all earlier ones, and not above the head. */
  readonly compacted: boolean;
  readonly leases: readonly LeaseOp[];
  /** Position of the entry, if its change of the placement was valid; otherwise 0. */
  readonly position: number;
}

/**
 * The pure function that turns the log into cuts and segments. Every proxy applies the same entries in the same order
 * (that of their create revisions on the host) and gets the same revisions.
 */
export class Fold implements TimelineView {
  protected constructor(
    /** Index of the shard that is the timeline host; -1 when the host is not a shard. */
    private readonly host: number,
    protected readonly state: FoldState,
  ) {}

  /** An empty store: every shard at shard revision 1, the store at revision 1. */
  static genesis(shardCount: number, host: number): Fold {
    return Fold.restore(host, {
      revision: 1,
      cut: new Array<number>(shardCount).fill(1),
      hidden: [],
      compactRevision: 0,
      raftTerm: 0,
      placements: new Map(),
      table: new SegmentTable(shardCount),
      sole: false,
    });
  }

  /** Continues from `state`, which the caller must not use afterwards. */
  static restore(host: number, state: FoldState): Fold {
    return new Fold(host, state);
  }

  /**
   * Adds the revisions that a shard has when the store is made, up to `reached`. Those in `omitted` (ascending) are the
   * proxies' own and get no revision.
   */
  begin(shard: number, reached: number, omitted: readonly number[]): void {
    for (const own of omitted) {
      if (own > reached) break;
      this.advance(shard, own - 1);
      this.state.cut[shard] = own;
    }
    this.advance(shard, reached);
  }

  /** The current state. The caller must not change it, and must not keep it beyond this turn. */
  snapshot(): Readonly<FoldState> {
    return this.state;
  }

  /** Applies the entry that the host stored at `hostRevision`. Calls must come in ascending order. */
  apply(entry: Entry, hostRevision: number): Applied {
    const { state } = this;
    for (let shard = 0; shard < state.cut.length; shard++) {
      const reached = entry.reached.get(shard);
      if (reached !== undefined) this.advance(shard, reached);
    }
    // A reader that does not know which shard the host is needs only the placement.
    if (entry.own && this.host >= 0) this.advance(this.host, hostRevision);
    else this.hide(hostRevision);
    const compacted = entry.compact > state.compactRevision && entry.compact <= state.revision;
    if (compacted) state.compactRevision = entry.compact;
    for (const op of entry.leases) this.applyLease(op);
    if (entry.raftTerm > state.raftTerm) state.raftTerm = entry.raftTerm;
    const position = entry.change === undefined ? 0 : this.applyChange(entry.change, hostRevision);
    return { compacted, leases: entry.leases, position };
  }

  /**
   * Applies a change of the placement. Returns the position of its entry, or 0 when it is not valid. Throws
   * FAILED_PRECONDITION: this fold has no placement.
   */
  protected applyChange(_change: Change, _hostRevision: number): number {
    throw new StatusError(
      Code.FAILED_PRECONDITION,
      "etcd-braid: the timeline log moves keys between shards, which this program can not follow",
    );
  }

  /** Marks `hostRevision` as the log's own, so that it gets no revision. Calls must come in ascending order. */
  hide(hostRevision: number): void {
    if (this.host < 0 || this.state.sole) return;
    const { hidden, cut } = this.state;
    if (hostRevision > cut[this.host]! && hostRevision !== hidden.at(-1)) hidden.push(hostRevision);
    this.skipHidden();
  }

  /**
   * True for a sole store: its only shard is the timeline host, and it has had no entry yet. Nothing needs an order there, so the
   * log stays empty: each revision of the shard is in the timeline without an entry, also those of the log's own writes.
   */
  get isSole(): boolean {
    return this.state.sole;
  }

  /**
   * In a sole store, gives all shard revisions up to `shardRevision` their revisions. The caller must know that the store was a
   * sole one when the shard was at `shardRevision`.
   */
  reach(shardRevision: number): void {
    this.advance(this.host, shardRevision);
  }

  /**
   * The first base of a sole store, at `hostRevision`. It gets no revision in a store that began empty. In one that began with
   * data it does, so that all revisions remain the shard's own: clients may know them from the shard itself.
   */
  beginSole(hostRevision: number): void {
    this.reach(hostRevision - 1);
    const { state } = this;
    if (state.revision < hostRevision - 1) state.cut[this.host] = hostRevision;
  }

  /** The base at `hostRevision` ends the sole store: from here on, the log has entries, and its own writes get no revision. */
  endSole(hostRevision: number, compactRevision: number): void {
    this.reach(hostRevision - 1);
    this.state.sole = false;
    this.state.compactRevision = compactRevision;
    this.hide(hostRevision);
  }

  /** Notes a compaction of the shard of a sole store, which has no entry. */
  compactSole(revision: number): void {
    this.state.compactRevision = Math.max(revision, this.state.compactRevision);
  }

  get head(): number {
    return this.state.revision;
  }

  get compactRevision(): number {
    return this.state.compactRevision;
  }

  get raftTerm(): number {
    return this.state.raftTerm;
  }

  get placements(): Placements {
    return this.state.placements;
  }

  cut(shard: number): number {
    return this.state.cut[shard]!;
  }

  cutAt(revision: number, shard: number): number {
    if (revision <= 0) return 0;
    const next = this.state.table.shardRevisionAfter(revision, shard);
    return next === undefined ? this.state.cut[shard]! : next - 1;
  }

  lastAt(revision: number, shard: number): number {
    if (revision <= 0) return 0;
    return this.state.table.shardRevisionAt(revision, shard) ?? 1;
  }

  toRevision(shard: number, shardRevision: number): number {
    if (shardRevision <= 0) return 0;
    return this.state.table.revisionAt(shard, shardRevision) ?? 1;
  }

  toShardRevision(revision: number, shard: number): number | undefined {
    const run = this.state.table.runAt(revision);
    return run?.shard === shard ? run.shardRevision : undefined;
  }

  readRevision(shard: number, shardRevision: number): number {
    if (shardRevision >= this.state.cut[shard]!) return this.state.revision;
    const next = this.state.table.revisionAfter(shard, shardRevision);
    return next === undefined ? this.state.revision : next - 1;
  }

  runAt(revision: number): Run {
    const run = this.state.table.runAt(revision);
    if (run !== undefined) return run;
    // Not in a store that was restored from a snapshot. All other revisions that it lacks are compacted.
    if (revision === this.state.compactRevision)
      return { revision, shard: NO_SHARD, shardRevision: 0, length: 1 };
    throw new RangeError(`revision ${revision} is in no segment of the timeline`);
  }

  private advance(shard: number, reached: number): void {
    const { state } = this;
    let from = state.cut[shard]! + 1;
    if (reached < from) return;
    if (shard === this.host) {
      const { hidden } = state;
      let passed = 0;
      while (passed < hidden.length && hidden[passed]! <= reached) {
        this.extend(shard, from, hidden[passed]! - from);
        from = hidden[passed]! + 1;
        passed++;
      }
      hidden.splice(0, passed);
    }
    this.extend(shard, from, reached - from + 1);
    state.cut[shard] = reached;
  }

  private extend(shard: number, shardRevision: number, length: number): void {
    if (length <= 0) return;
    this.state.table.append(this.state.revision + 1, shard, shardRevision, length);
    this.state.revision += length;
  }

  /** Moves the host's cut past log revisions right after it. They have no data, so reads at them are sealed. */
  private skipHidden(): void {
    const { hidden, cut } = this.state;
    let passed = 0;
    while (passed < hidden.length && hidden[passed] === cut[this.host]! + 1) {
      cut[this.host]!++;
      passed++;
    }
    if (passed > 0) hidden.splice(0, passed);
  }

  protected applyLease(op: LeaseOp): void {
    const { placements } = this.state;
    if (op.kind === "unplace") {
      placements.delete(op.lease);
      return;
    }
    const shards = placements.get(op.lease);
    if (shards === undefined) placements.set(op.lease, new Set([op.shard]));
    else shards.add(op.shard);
  }
}
