import { firstPlacement } from "../reshard/placement.js";
import { type Base, decodeBaseHead } from "./base.js";
import { decodeEntry, type Entry } from "./entry.js";
import { Fold } from "./fold.js";
import type { HostChange, NextHost } from "./host.js";
import { BASE_KEY, isEntryKey, isPartKey, proxyOf } from "./keys.js";
import type { LogEvents } from "./logOptions.js";
import { isRaisedMark } from "./mark.js";
import { Proposers } from "./proposers.js";
import type { Recovered } from "./recover.js";
import type { TimelineStats } from "./stats.js";
import { StoreFold } from "./storeFold.js";

const BASE = BASE_KEY.toString("latin1");

/** What this proxy has folded of the log: a prefix of it, on the host where the log is now. Does no input or output. */
export class FoldedLog {
  /** Replaced when the log is loaded, and when it moves to another host. */
  fold: StoreFold;
  /** Host revision up to which the log is folded. */
  seen = 0;
  /** The newest base. Undefined until the log is loaded. */
  base!: Base;
  /** Mod revision of `base`. */
  baseRevision = 0;
  /** Entries above the base, which a starting proxy has to read. */
  length = 0;
  /** Part keys on the host → create revision. */
  parts = new Map<string, number>();
  /** Index of the shard that is the timeline host; -1 when the host is not a shard. */
  hostShard: number;
  /** Number of hosts that the log has had, the present one included. Host revisions of two hosts have no order. */
  hosts = 1;
  /** True while the base on a new host is not known here. */
  isMoving = false;
  /** In a sole store, the host revision up to which everything is in the timeline, as far as this proxy knows. */
  reached = 0;
  /** The processes whose entries the watch of the log has brought. */
  readonly proposers = new Proposers();
  /** Highest Raft term in the host's responses. */
  private observedTerm = 0;
  /** `length` above which the log is long. */
  private limit: number;

  constructor(
    hostShard: number,
    private readonly applied: LogEvents["applied"],
    private readonly stats: TimelineStats,
    /** Chooses the `length` above which the log is long, for one epoch. */
    private readonly drawLimit: () => number,
  ) {
    this.hostShard = hostShard;
    this.fold = StoreFold.of(-1, {
      timeline: Fold.genesis(0, -1).snapshot(),
      placement: firstPlacement("", []),
      positionOffset: 0,
    });
    this.limit = drawLimit();
  }

  /** True when it is time for a new base. */
  get isLong(): boolean {
    return this.length > this.limit;
  }

  /**
   * Highest Raft term of the host that the log holds. A newer one in the host's responses goes into the next entry of this
   * proxy and counts from there, so that no other proxy or worker that has read as far says less.
   */
  get raftTerm(): number {
    // No entry tells it.
    if (this.fold.isSole) return Math.max(this.observedTerm, this.fold.raftTerm);
    return this.fold.raftTerm;
  }

  /** The Raft term for the next entry: 0 unless it is newer than what the log says. */
  get newTerm(): number {
    return this.observedTerm > this.fold.raftTerm ? this.observedTerm : 0;
  }

  /** Notes the Raft term in a response of the host. */
  observe(term: number): void {
    if (term > this.observedTerm) this.observedTerm = term;
  }

  /** `Timeline.wrote`, for the host's revision. Returns true if it brings revisions into the timeline of a sole store. */
  reach(hostRevision: number): boolean {
    if (!this.fold.isSole || hostRevision <= this.reached) return false;
    this.reached = hostRevision;
    this.fold.reach(hostRevision);
    return true;
  }

  /** Folds an entry of this proxy before its watch event arrives, which is ignored then. */
  foldOwn(key: string, entry: Entry, revision: number): void {
    this.length++;
    this.stats.entries++;
    this.applied(key, this.fold.apply(entry, revision));
    this.seen = revision;
  }

  /**
   * Folds changes in order. Returns "reload" when a base has rewritten the old segments, so that the log must be reloaded, and
   * "leave" when the log continues on another host. `now` is the present time of the runtime.
   */
  foldChanges(changes: readonly HostChange[], now: number): "reload" | "leave" | undefined {
    for (const change of changes) {
      // A reopened watch may repeat changes that a late message of the old one brought.
      if (change.revision <= this.seen) continue;
      let newBase: ReturnType<typeof decodeBaseHead> | undefined;
      for (const { key, value } of change.puts) {
        if (isEntryKey(key)) {
          this.length++;
          this.stats.entries++;
          this.proposers.note(proxyOf(key), now);
          this.applied(key, this.fold.apply(decodeEntry(value), change.revision));
        } else if (isPartKey(key)) {
          this.parts.set(key, change.revision);
        } else if (key === BASE) {
          newBase = decodeBaseHead(value);
        }
      }
      for (const key of change.deletes) this.parts.delete(key);
      if (isOfLog(change)) this.fold.hide(change.revision);
      this.seen = change.revision;
      if (newBase === undefined) continue;
      const rewritten = newBase.generation !== this.base.generation;
      this.fold.identify(this.base.clusterIds, newBase.clusterIds);
      this.fold.learnEndpoints(newBase.placement?.endpoints ?? []);
      this.base = newBase;
      this.baseRevision = change.revision;
      if (newBase.endsSole) this.fold.endSole(change.revision, newBase.compactRevision);
      this.stats.bases++;
      this.length = 0;
      this.limit = this.drawLimit();
      if (newBase.next !== undefined) return "leave";
      if (rewritten) return "reload";
    }
    return undefined;
  }

  /** Whether `base`, which was loaded, covers entries that were not folded here. */
  isBehind(base: Base): boolean {
    // The first base on a new host covers nothing that was not folded here.
    return this.isMoving ? base.epoch > this.base.epoch + 1 : base.covers > this.seen;
  }

  /** Replaces everything by what was loaded at the host's `revision`. */
  replace({ fold, base, baseRevision, entriesInEpoch, parts, entries }: Recovered, revision: number): void {
    this.fold = fold;
    this.base = base;
    this.hosts = base.hosts ?? 1;
    this.isMoving = false;
    this.baseRevision = baseRevision;
    this.length = entriesInEpoch;
    this.parts = parts;
    for (const { key, hostRevision, applied } of entries) {
      if (hostRevision > this.seen) this.applied(key, applied);
    }
    this.seen = revision;
  }

  /** Turns to the next host, where nothing is folded yet. Until the base there is known, nothing can be appended. */
  leaveFor(next: NextHost): void {
    this.hostShard = next.shard;
    this.fold = this.fold.rehosted(next.shard, this.baseRevision);
    this.hosts++;
    this.isMoving = true;
    this.seen = 0;
    this.baseRevision = 0;
  }
}

/** False for a change that only raises gen on the host. */
const isOfLog = ({ puts, deletes }: HostChange): boolean =>
  deletes.length > 0 || puts.some(({ key, value }) => !isRaisedMark(key, value));
