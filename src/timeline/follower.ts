import { Code, StatusError } from "../status/error.js";
import { decodeBaseHead } from "./base.js";
import type { BaseWriter } from "./baseWriter.js";
import type { Entry } from "./entry.js";
import type { FoldedLog } from "./foldedLog.js";
import { beginLog } from "./genesis.js";
import type { Committed, HostChange, Loaded, LogHost, NextHost } from "./host.js";
import { isPartKey } from "./keys.js";
import type { LogEvents, LogOptions } from "./logOptions.js";
import { LogWatch } from "./logWatch.js";
import { requireMark } from "./nextHost.js";
import { findBase, recover } from "./recover.js";
import type { TimelineStats } from "./stats.js";
import { Waiters } from "./waiters.js";

/** Pause between attempts to reload the log. */
const RELOAD_DELAY_MS = 250;

/** Codes of loads that fail permanently: the log is lost, of another store, or not readable. */
const PERMANENT: ReadonlySet<Code> = new Set([Code.DATA_LOSS, Code.FAILED_PRECONDITION, Code.INTERNAL]);

/** Follows the log: loads it, folds what the host's watch brings, and goes on at the host to which the log moves. */
export class Follower {
  /** The host where the log is now. */
  host: LogHost;
  /** Why the log cannot go on at its next host. */
  failure: StatusError | undefined;
  private opened = false;
  private closed = false;
  /** True while the log is reloaded, which replaces what is folded meanwhile. */
  private reloading = false;
  private readonly watch: LogWatch;
  private readonly waiters: Waiters;

  constructor(
    private readonly options: LogOptions,
    private readonly folded: FoldedLog,
    private readonly bases: BaseWriter,
    private readonly stats: TimelineStats,
    private readonly events: LogEvents,
    /** Called when entries have been folded, unless the log is about to be reloaded or moves. */
    private readonly grown: () => void,
  ) {
    this.host = options.host;
    this.watch = new LogWatch(
      options.runtime,
      () => folded.seen,
      (changes) => this.foldSafely(changes),
      () => void this.reload(),
    );
    this.waiters = new Waiters(
      options.runtime,
      () => this.watch.reopen(this.host),
      () => this.host.label,
    );
  }

  /** `TimelineLog.open`. */
  async open(): Promise<void> {
    // Before the base on the next host is known, this host must not begin a log.
    if (!this.folded.isMoving) while (!(await this.load())) await beginLog(this.options);
    await this.goOn();
    this.opened = true;
  }

  close(): void {
    this.closed = true;
    this.watch.stop();
    this.waiters.rejectAll(new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down"));
  }

  /** Resolves when `done()` holds after a fold. Rejects with UNAVAILABLE when the host does not deliver its log. */
  until(done: () => boolean): Promise<void> {
    return this.waiters.until(done);
  }

  /** To be called when more is in the timeline. */
  advanced(): void {
    if (this.waiters.size > 0) this.waiters.advanced();
    this.events.advanced();
  }

  /** Folds an entry that this proxy has appended, unless others lie before it. Then the watch will bring it. */
  appended(key: string, entry: Entry, result: Committed): void {
    const { folded } = this;
    if (this.follows(result)) {
      folded.foldOwn(key, entry, result.revision);
      this.advanced();
      this.grown();
      return;
    }
    const { hosts } = folded;
    // Not awaited, because callers wait for their seals. This only reopens a watch that is stuck.
    this.until(() => folded.seen >= result.revision || folded.hosts !== hosts).catch(() => {});
  }

  /** Whether a commit by this proxy is the next change of the log after what is folded. */
  private follows({ revision, previous }: Committed): boolean {
    const { seen } = this.folded;
    return previous <= seen && seen < revision && !this.reloading;
  }

  // --- loading -----------------------------------------------------------------------------------------

  /** Loads the base and the entries above it. Resolves to false when the host has no base yet. */
  private async load(): Promise<boolean> {
    return this.take(await this.host.load());
  }

  /** Replaces what is folded by what the host holds. Returns false when the host has no base yet. */
  private take({ revision, raftTerm, keys }: Loaded): boolean {
    if (this.closed) return true;
    const { folded } = this;
    folded.observe(raftTerm);
    const stored = findBase(keys);
    if (folded.seen > revision || (stored === undefined && folded.seen > 0)) {
      throw new StatusError(
        Code.DATA_LOSS,
        `etcd-braid: the timeline host lost data: it is at revision ${revision}, but its log was read up to ${folded.seen}. ` +
          "Stop all proxies and restore the host from a newer state.",
      );
    }
    if (stored === undefined) return false;
    const recovered = recover(stored, keys, folded.hostShard, Math.max(revision, folded.reached));
    const { base, fold } = recovered;
    // The map of a store changes only by plans, which a proxy that is running follows.
    if (!this.opened && base.next === undefined) this.options.accept(fold.store.placement, base.format);
    if (this.opened && folded.isBehind(base)) this.events.skipped();
    folded.replace(recovered, revision);
    return true;
  }

  /** Loads base and entries again, because the watch cannot continue where it ended. */
  private async reload(): Promise<void> {
    this.stats.reloads++;
    this.reloading = true;
    this.watch.stop();
    try {
      if (!(await this.load()))
        throw new StatusError(Code.DATA_LOSS, "etcd-braid: the timeline host has lost its log");
    } catch (reason) {
      const error = StatusError.from(reason);
      if (PERMANENT.has(error.code)) this.events.failed(error);
      else if (!this.closed) this.options.runtime.timer(RELOAD_DELAY_MS, () => void this.reload());
      return;
    }
    this.reloading = false;
    if (this.closed) return;
    if (this.folded.base.next === undefined) {
      this.events.reloaded();
      this.advanced();
    }
    this.goOnOrFail();
  }

  // --- following ---------------------------------------------------------------------------------------

  /** Follows the log, on the next host if the base says so. Until it is open, rejects with UNAVAILABLE. */
  private async goOn(): Promise<void> {
    const { folded } = this;
    while (folded.base.next !== undefined && !this.closed) {
      if (!folded.isMoving) this.leaveFor(folded.base.next);
      await this.arrive(folded.base.next);
    }
    this.follow();
  }

  private goOnOrFail(): void {
    this.goOn().catch((reason) => {
      this.failure = StatusError.from(reason);
      this.events.failed(this.failure);
      this.waiters.rejectAll(this.failure);
    });
  }

  private follow(): void {
    if (!this.closed) this.watch.open(this.host);
  }

  private foldSafely(changes: readonly HostChange[]): void {
    let outcome: "reload" | "leave" | undefined;
    try {
      outcome = this.folded.foldChanges(changes, this.options.runtime.now());
    } catch (reason) {
      // An entry is not readable. Without it, later revisions would be wrong.
      this.watch.stop();
      this.events.failed(StatusError.from(reason));
      return;
    }
    if (outcome === "leave") {
      // Calls that wait for the log's end must not take the last base for it, so nothing advances before the host changes.
      this.goOnOrFail();
      return;
    }
    this.advanced();
    if (outcome === "reload") void this.reload();
    else this.grown();
  }

  // --- moving to another host ----------------------------------------------------------------------------

  /** Turns to the next host. */
  private leaveFor(next: NextHost): void {
    this.watch.stop();
    this.host = this.options.hostOf(next);
    this.folded.leaveFor(next);
    this.advanced();
  }

  /** Resolves when the base on the next host is folded. The first proxy that arrives writes it. */
  private async arrive(next: NextHost): Promise<void> {
    const { folded } = this;
    while (!this.closed && folded.isMoving) {
      try {
        await this.loadNext(next);
      } catch (reason) {
        const error = StatusError.from(reason);
        if (this.closed) return;
        if (!this.opened || PERMANENT.has(error.code)) throw error;
        // Writes are refused with this error.
        this.events.endRead(error);
        await new Promise<void>((resolve) => void this.options.runtime.timer(RELOAD_DELAY_MS, resolve));
      }
    }
    // The log may have moved on meanwhile. Calls that wait for its end must not take the last base here for it.
    if (this.closed || !this.opened || folded.base.next !== undefined) return;
    this.events.reloaded();
    this.advanced();
  }

  /** Loads the log from its new host, or writes the first base there. */
  private async loadNext(next: NextHost): Promise<void> {
    const loaded = await this.host.load();
    const { base, fold, hosts } = this.folded;
    requireMark(loaded, next, base.store);
    const stored = findBase(loaded.keys);
    // A host that the log has had before still has an older base.
    if (stored !== undefined && (decodeBaseHead(stored.value).hosts ?? 1) >= hosts) {
      this.take(loaded);
      return;
    }
    await this.bases.write(this.host, {
      base,
      guard: stored?.modRevision ?? 0,
      covers: loaded.revision,
      state: fold.store,
      parts: new Map(
        loaded.keys.flatMap(({ key, createRevision }) => (isPartKey(key) ? [[key, createRevision]] : [])),
      ),
      firstNeededEpoch: base.epoch + 1,
      // As after pruning, all parts are written anew.
      change: { hosts, pruned: { table: fold.snapshot().table, at: base.prunedAt } },
    });
  }
}
