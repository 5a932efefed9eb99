import type { Entry, LeaseOp } from "./entry.js";
import { SegmentTable } from "./segments.js";
import { NOBODY, type Placements, type Run, type TimelineView } from "./view.js";

/** Everything that a fold knows, as plain data: what `base` stores. */
export interface FoldState {
  revision: number;
  cut: number[];
  /** The host's own log revisions above its cut, ascending: they will get no revision. */
  hidden: number[];
  compactRevision: number;
  raftTerm: number;
  placements: Map<bigint, Set<number>>;
  table: SegmentTable;
}

/** What an entry changed, for those who wait for it. */
export interface Applied {
  /** The entry's compaction took effect (it was newer than all before, and no future revision). */
  readonly compacted: boolean;
  readonly leases: readonly LeaseOp[];
}

/**
 * The pure function that turns the log into cuts and segments. Every proxy applies the same entries in the
 * same order (that of their create revisions on the host) and gets the same revisions.
 */
export class Fold implements TimelineView {
  private constructor(
    /** Index of the shard that is the timeline host; -1 when the host is a cluster of its own. */
    private readonly host: number,
    private readonly state: FoldState,
  ) {}

  /** An empty store: every cluster at shard revision 1, the store at revision 1. */
  static genesis(shardCount: number, host: number): Fold {
    return Fold.restore(host, {
      revision: 1,
      cut: new Array<number>(shardCount).fill(1),
      hidden: [],
      compactRevision: 0,
      raftTerm: 0,
      placements: new Map(),
      table: new SegmentTable(shardCount),
    });
  }

  /** Takes the state over: the caller must not use it any more. */
  static restore(host: number, state: FoldState): Fold {
    return new Fold(host, state);
  }

  /**
   * Takes in what a shard holds when the store is made: its revisions up to `reached`, without those that are the proxies'
   * own (`omitted`, ascending), which get no revision.
   */
  begin(shard: number, reached: number, omitted: readonly number[]): void {
    for (const own of omitted) {
      if (own > reached) break;
      this.advance(shard, own - 1);
      this.state.cut[shard] = own;
    }
    this.advance(shard, reached);
  }

  /** The state, to be read (not kept, not changed). */
  snapshot(): Readonly<FoldState> {
    return this.state;
  }

  /** Replaces the table by one that knows the same revisions where they can still be shown (see prune.ts). */
  replaceTable(table: SegmentTable): void {
    this.state.table = table;
  }

  /** Applies the entry that the host stored at `hostRevision`. */
  apply(entry: Entry, hostRevision: number): Applied {
    const { state } = this;
    for (let shard = 0; shard < state.cut.length; shard++) {
      const reached = entry.reached.get(shard);
      if (reached !== undefined) this.advance(shard, reached);
    }
    this.hide(hostRevision);
    const compacted = entry.compact > state.compactRevision && entry.compact <= state.revision;
    if (compacted) state.compactRevision = entry.compact;
    for (const op of entry.leases) this.applyLease(op);
    if (entry.raftTerm > state.raftTerm) state.raftTerm = entry.raftTerm;
    return { compacted, leases: entry.leases };
  }

  /** Tells that the host's revision `hostRevision` is the log's own: it gets no revision. Ascending calls. */
  hide(hostRevision: number): void {
    if (this.host < 0) return;
    const { hidden, cut } = this.state;
    if (hostRevision > cut[this.host] && hostRevision !== hidden[hidden.length - 1])
      hidden.push(hostRevision);
    this.skipHidden();
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
    return this.state.cut[shard];
  }

  cutAt(revision: number, shard: number): number {
    if (revision <= 0) return 0;
    const next = this.state.table.shardRevisionAfter(revision, shard);
    return next === undefined ? this.state.cut[shard] : next - 1;
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
    if (shardRevision >= this.state.cut[shard]) return this.state.revision;
    const next = this.state.table.revisionAfter(shard, shardRevision);
    return next === undefined ? this.state.revision : next - 1;
  }

  runAt(revision: number): Run {
    const run = this.state.table.runAt(revision);
    if (run !== undefined) return run;
    // Left out when the store was restored from a snapshot; the others that were are compacted.
    if (revision === this.state.compactRevision)
      return { revision, shard: NOBODY, shardRevision: 0, length: 1 };
    throw new RangeError(`revision ${revision} is in no segment of the timeline`);
  }

  private advance(shard: number, reached: number): void {
    const { state } = this;
    let from = state.cut[shard] + 1;
    if (reached < from) return;
    if (shard === this.host) {
      const { hidden } = state;
      let passed = 0;
      while (passed < hidden.length && hidden[passed] <= reached) {
        this.extend(shard, from, hidden[passed] - from);
        from = hidden[passed] + 1;
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

  /** Log revisions that follow the cut directly hold no data: the cut passes them, so that reads there are sealed. */
  private skipHidden(): void {
    const { hidden, cut } = this.state;
    let passed = 0;
    while (passed < hidden.length && hidden[passed] === cut[this.host] + 1) {
      cut[this.host]++;
      passed++;
    }
    if (passed > 0) hidden.splice(0, passed);
  }

  private applyLease(op: LeaseOp): void {
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
