import { Locator } from "../reshard/locator.js";
import type { Maps } from "../reshard/maps.js";
import { firstPlacement, type PlacementState } from "../reshard/placement.js";
import { Code, StatusError } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import { type Base, decodeBaseHead, PART_SIZES, type PartSizes } from "./base.js";
import { type BaseChange, type BaseInput, planBase } from "./basePlan.js";
import { decodeEntry, type Entry, encodeEntry } from "./entry.js";
import { type Applied, Fold } from "./fold.js";
import { beginLog, type GenesisOptions } from "./genesis.js";
import type {
  Committed,
  HostCarried,
  HostChange,
  HostKey,
  HostWatchEvents,
  Loaded,
  LogHost,
  LogTail,
  NextHost,
} from "./host.js";
import { BASE_KEY, entryKey, isEntryKey, isPartKey, markKey, partKey, proxyOf, TAIL_KEY } from "./keys.js";
import { isRaisedMark, withGen } from "./mark.js";
import { requireMark } from "./nextHost.js";
import { Proposers } from "./proposers.js";
import { findBase, recover } from "./recover.js";
import { TimelineStats } from "./stats.js";
import { StoreFold } from "./storeFold.js";
import { Waiters } from "./waiters.js";

const BASE = BASE_KEY.toString("latin1");
const TAIL = TAIL_KEY.toString("latin1");

/** Entries in an epoch before a proxy writes a new base: this many, plus a random number up to as many again. */
const ENTRIES_PER_EPOCH = 512;
/** Shortest and longest pause before a closed watch of the log is reopened, before jitter. The first time there is none. */
const MIN_REOPEN_DELAY_MS = 25;
const MAX_REOPEN_DELAY_MS = 1_000;
/** Pause between attempts to reload the log. */
const RELOAD_DELAY_MS = 250;

export interface LogOptions extends GenesisOptions {
  /** Unique name of this run of this proxy, for keys. */
  readonly proxy: string;
  readonly runtime: Runtime;
  /** The routers of the store's maps. */
  readonly maps: Maps;
  /** The endpoints of shards by name, as this proxy's file has them. Bases of format 2 record those that no entry has told. */
  readonly endpoints?: ReadonlyMap<string, readonly string[]>;
  /** Connects to a host to which the log has moved. */
  hostOf(next: NextHost): LogHost;
  /** Throws for a store that does not fit this proxy's configuration. Called when the log is opened. */
  accept(placement: Readonly<PlacementState>, format: Base["format"]): void;
}

/** Notifications of a `TimelineLog`. */
export interface LogEvents {
  /** An entry has been folded. */
  applied(key: string, result: Applied): void;
  /** A reload found a base that covers more than was folded. `applied` does not report those entries. */
  skipped(): void;
  /** The log was reloaded. Entries that are in its base by now were not reported by `applied`. */
  reloaded(): void;
  /** One or more changes have been folded. */
  advanced(): void;
  /** The log's end was read or, with an error, the host did not answer. */
  endRead(error: StatusError | undefined): void;
  /** The store can no longer be served, because the host lost data or its log is not readable. */
  failed(error: StatusError): void;
}

/**
 * Storage of the timeline: loads base and entries, follows the log, appends, and writes new bases. `fold` is always the fold
 * of a prefix of the log.
 */
export class TimelineLog {
  fold: StoreFold;
  /** Locates keys by what is folded at the moment of the call. */
  readonly locator: Locator;
  /** Host revision up to which the log is folded. */
  seen = 0;
  /** The newest base. Undefined until the log is loaded. */
  base!: Base;
  readonly stats = new TimelineStats();
  /** Index of the shard that is the timeline host; -1 when the host is not a shard. */
  hostShard: number;
  private host: LogHost;
  /** Number of hosts that the log has had, the present one included. Host revisions of two hosts have no order. */
  hosts = 1;
  /** True while the base on a new host is not known here. */
  private isMoving = false;
  /** Why the log cannot go on at its next host. */
  private failure: StatusError | undefined;
  private baseRevision = 0;
  private entries = 0;
  private entriesBeforeBase: number;
  private counter = 0;
  private closed = false;
  private stopWatch: (() => void) | undefined;
  private cancelReopen: (() => void) | undefined;
  private reopenDelay = 0;
  private writingBase = false;
  private opened = false;
  /** True while the log is reloaded, which replaces what is folded meanwhile. */
  private reloading = false;
  /** In a sole store, the host revision up to which everything is in the timeline, as far as this proxy knows. */
  private reached = 0;
  /** True while `advanced` waits for the end of the turn. */
  private isReaching = false;
  private readonly waiters: Waiters;
  private readonly proposers = new Proposers();
  /** Part keys on the host → create revision. */
  private parts = new Map<string, number>();
  /** Highest Raft term in the host's responses. */
  private observedTerm = 0;

  constructor(
    private readonly options: LogOptions,
    private readonly events: LogEvents,
  ) {
    this.host = options.host;
    this.hostShard = options.hostShard;
    this.fold = StoreFold.of(-1, {
      timeline: Fold.genesis(0, -1).snapshot(),
      placement: firstPlacement("", []),
      positionOffset: 0,
    });
    this.locator = new Locator({ snapshot: () => this.fold.store.placement }, options.maps, {
      cutAt: (revision, shard) => this.fold.cutAt(revision, shard),
    });
    const host = () => this.hostLabel;
    this.waiters = new Waiters(options.runtime, () => this.reopen(), host);
    this.entriesBeforeBase = this.drawLimit();
  }

  /** Entries above the base, which a starting proxy has to read. */
  get length(): number {
    return this.entries;
  }

  /** Number of other processes that have appended an entry in the last minute. */
  get otherProposers(): number {
    return this.proposers.others(this.options.proxy, this.options.runtime.now());
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

  /**
   * Loads the log, or begins one, and follows it. Rejects when the host cannot be reached, and with what `accept` throws. Then it
   * may be called again.
   */
  async open(): Promise<void> {
    // Before the base on the next host is known, this host must not begin a log.
    if (!this.isMoving) while (!(await this.load())) await beginLog(this.options);
    await this.goOn();
    this.opened = true;
  }

  close(): void {
    this.closed = true;
    this.stopWatch?.();
    this.cancelReopen?.();
    this.waiters.rejectAll(new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down"));
  }

  /** Returns a key for the next entry. Never returns a key twice, so entries with unknown outcome are not overwritten. */
  nextKey(): string {
    return entryKey(this.base.epoch, this.options.proxy, this.counter++);
  }

  /**
   * Appends an entry once. Folds it directly if it is the next change of the log; otherwise the watch will. `landed` is
   * false when another proxy had written a new base: nothing was appended, the new base is known by now, and the caller
   * retries with a new key. With an error the outcome is unknown.
   */
  append(
    key: string,
    proposal: Entry,
    done: (error: StatusError | undefined, landed: boolean) => void,
  ): void {
    const { hosts, isMoving } = this;
    const guard = this.baseRevision;
    const notLanded = (until: () => boolean) =>
      this.waiters.until(until).then(
        () => done(undefined, false),
        (reason) => done(StatusError.from(reason), false),
      );
    if (isMoving) {
      void notLanded(() => !this.isMoving);
      return;
    }
    const entry = { ...proposal, raftTerm: this.newTerm };
    this.host.append(guard, key, encodeEntry(entry), (error, result) => {
      // When the log moved, everything that was appended to the old host was folded. All else never takes effect.
      if (this.hosts !== hosts) {
        done(undefined, error === undefined && result.committed);
        return;
      }
      if (error !== undefined) {
        done(error, false);
        return;
      }
      this.observe(result.raftTerm);
      if (!result.committed) {
        this.stats.appendsRefused++;
        void notLanded(() => this.baseRevision !== guard || this.hosts !== hosts);
        return;
      }
      this.appended(key, entry, result);
      done(undefined, true);
    });
  }

  /**
   * True if a client's put on the host can carry an entry now. Versions that know only bases of format 1 do not know such an
   * entry, and may follow the log of a store with such a base.
   */
  get canCarry(): boolean {
    const { format, next } = this.base;
    return format !== 1 && next === undefined && !this.fold.isSole;
  }

  /**
   * Makes an entry that a client's put on the host carries in its transaction, which must happen only if the entry's compare
   * holds. The entry seals the put. It is folded when the result is settled, or when the watch brings it.
   */
  carry(): HostCarried {
    const { hosts } = this;
    const key = this.nextKey();
    const entry: Entry = {
      reached: NOTHING_REACHED,
      compact: 0,
      leases: [],
      raftTerm: this.newTerm,
      own: true,
    };
    const { fields, settle } = this.host.carry(this.baseRevision, key, encodeEntry(entry));
    return {
      fields,
      settle: (response) => {
        const result = settle(response);
        // When the log moved, everything that was appended to the old host was folded.
        if (result.committed && this.hosts === hosts) {
          this.observe(result.raftTerm);
          this.appended(key, entry, result);
        }
        return result;
      },
    };
  }

  /** The Raft term for the next entry: 0 unless it is newer than what the log says. */
  private get newTerm(): number {
    return this.observedTerm > this.fold.raftTerm ? this.observedTerm : 0;
  }

  /** Folds an entry that this proxy has appended, unless others lie before it. */
  private appended(key: string, entry: Entry, result: Committed): void {
    const { hosts } = this;
    if (this.follows(result)) this.foldOwn(key, entry, result.revision);
    // Not awaited, because callers wait for their seals. This only reopens a watch that is stuck.
    else this.waiters.until(() => this.seen >= result.revision || this.hosts !== hosts).catch(() => {});
  }

  /** Whether a commit by this proxy is the next change of the log after what is folded. */
  protected follows({ revision, previous }: Committed): boolean {
    return previous <= this.seen && this.seen < revision && !this.reloading;
  }

  /** Folds an entry of this proxy before its watch event arrives, which is ignored then. */
  private foldOwn(key: string, entry: Entry, revision: number): void {
    this.entries++;
    this.stats.entries++;
    this.events.applied(key, this.fold.apply(entry, revision));
    this.seen = revision;
    this.advanced();
    this.truncateWhenLong();
  }

  /**
   * Mod revision of the newest base known here, which guards appends: after a newer base, an append with this guard can no
   * longer take effect.
   */
  get guard(): number {
    return this.baseRevision;
  }

  /**
   * Resolves when a base newer than the one at `guard` is folded here. Writes one if there is none. Rejects with UNAVAILABLE
   * when the host cannot be reached.
   */
  async fence(guard: number): Promise<void> {
    while (this.baseRevision === guard) {
      if (await this.writeBase()) await this.waiters.until(() => this.baseRevision !== guard);
      else await this.sync();
    }
  }

  /** Writes a base of format 2, unless there is one already. Rejects with UNAVAILABLE when the host cannot be reached. */
  async requirePlacement(): Promise<void> {
    await this.endSole();
    while (this.base.format < 2) {
      if (await this.writeBase({ format: 2 })) await this.waiters.until(() => this.base.format >= 2);
      else await this.sync();
    }
  }

  /**
   * Ends a sole store, so that the log can have entries. Resolves immediately for any other store. Rejects with UNAVAILABLE when
   * the host cannot be reached.
   */
  async endSole(): Promise<void> {
    while (this.fold.isSole) {
      if (await this.writeBase({ endsSole: true })) await this.waiters.until(() => !this.fold.isSole);
      else await this.sync();
    }
  }

  /**
   * Tells that the host was at `hostRevision` while the store was a sole one, so that everything up to there is in the timeline.
   * Does nothing in any other store.
   */
  reach(hostRevision: number): void {
    if (!this.fold.isSole || hostRevision <= this.reached) return;
    this.reached = hostRevision;
    this.fold.reach(hostRevision);
    if (this.isReaching) return;
    this.isReaching = true;
    // Once for all that is reached in this turn.
    this.options.runtime.soon(() => {
      this.isReaching = false;
      this.advanced();
    });
  }

  /** Name of the host in errors. */
  get hostLabel(): string {
    return this.host.label;
  }

  /** False while no call can be sent to the host. */
  get isConnected(): boolean {
    return this.host.isConnected;
  }

  /** Reads the log's end linearizably. If the log moves meanwhile, the end can be on the next host. */
  async readEnd(): Promise<LogTail> {
    const { hosts } = this;
    try {
      const tail = await this.host.tail();
      this.events.endRead(undefined);
      return tail;
    } catch (reason) {
      // The old host may be switched off.
      if (this.hosts !== hosts) return { end: 0, revision: 0, raftTerm: 0 };
      const error = StatusError.from(reason);
      this.events.endRead(error);
      throw error;
    }
  }

  /** Reads the log's end and folds up to it. */
  async sync(): Promise<void> {
    for (;;) {
      const { hosts } = this;
      const { end, revision, raftTerm } = await this.readEnd();
      await this.waiters.until(() => this.seen >= end || this.hosts !== hosts);
      // The end may be on the next host.
      if (this.hosts !== hosts) continue;
      if (this.fold.isSole) {
        this.observe(raftTerm);
        this.reach(revision);
      }
      return;
    }
  }

  /**
   * Moves the log to another host, and resolves when this proxy follows it there. The next host must not have data of another
   * store. Rejects with UNAVAILABLE when a host cannot be reached; then the log may have moved or not.
   */
  async moveTo(next: NextHost): Promise<void> {
    await this.requirePlacement();
    const { hosts } = this;
    while (this.hosts === hosts) {
      if (this.failure !== undefined) throw this.failure;
      if (await this.writeBase({ next, format: 3 })) await this.waiters.until(() => this.hosts !== hosts);
      else await this.sync();
    }
    await this.waiters.until(() => !this.isMoving);
  }

  private advanced(): void {
    if (this.waiters.size > 0) this.waiters.advanced();
    this.events.advanced();
  }

  private observe(term: number): void {
    if (term > this.observedTerm) this.observedTerm = term;
  }

  // --- loading -----------------------------------------------------------------------------------------

  /** Loads the base and the entries above it. Resolves to false when the host has no base yet. */
  private async load(): Promise<boolean> {
    return this.take(await this.host.load());
  }

  /** Replaces what is folded by what the host holds. Returns false when the host has no base yet. */
  private take({ revision, raftTerm, keys }: Loaded): boolean {
    if (this.closed) return true;
    this.observe(raftTerm);
    const stored = findBase(keys);
    if (this.seen > revision || (stored === undefined && this.seen > 0)) {
      throw new StatusError(
        Code.DATA_LOSS,
        `etcd-braid: the timeline host lost data: it is at revision ${revision}, but its log was read up to ${this.seen}. ` +
          "Stop all proxies and restore the host from a newer state.",
      );
    }
    if (stored === undefined) return false;
    const recovered = recover(stored, keys, this.hostShard, Math.max(revision, this.reached));
    // The map of a store changes only by plans, which a proxy that is running follows.
    if (!this.opened && recovered.base.next === undefined)
      this.options.accept(recovered.fold.store.placement, recovered.base.format);
    // The first base on a new host covers nothing that was not folded here.
    const isSkipped = this.isMoving
      ? recovered.base.epoch > this.base.epoch + 1
      : recovered.base.covers > this.seen;
    if (this.opened && isSkipped) this.events.skipped();
    this.fold = recovered.fold;
    this.base = recovered.base;
    this.hosts = recovered.base.hosts ?? 1;
    this.isMoving = false;
    this.baseRevision = recovered.baseRevision;
    this.entries = recovered.entriesInEpoch;
    this.parts = recovered.parts;
    for (const { key, hostRevision, applied } of recovered.entries) {
      if (hostRevision > this.seen) this.events.applied(key, applied);
    }
    this.seen = revision;
    return true;
  }

  // --- following ---------------------------------------------------------------------------------------

  private follow(): void {
    if (this.closed) return;
    const events: HostWatchEvents = {
      changes: (changes) => {
        this.reopenDelay = 0;
        this.foldSafely(changes);
      },
      closed: (_error, compacted) => {
        this.stopWatch = undefined;
        if (compacted) void this.reload();
        else this.followLater();
      },
    };
    this.stopWatch = this.host.watch(this.seen + 1, events, () => this.seen);
  }

  private followLater(): void {
    if (this.closed || this.cancelReopen !== undefined) return;
    const delay = this.reopenDelay * (0.5 + this.options.runtime.random());
    this.reopenDelay = Math.min(MAX_REOPEN_DELAY_MS, this.reopenDelay * 2 || MIN_REOPEN_DELAY_MS);
    this.cancelReopen = this.options.runtime.timer(delay, () => {
      this.cancelReopen = undefined;
      this.follow();
    });
  }

  private reopen(): void {
    if (this.stopWatch === undefined) return;
    this.stopWatch();
    this.stopWatch = undefined;
    this.follow();
  }

  /** Loads base and entries again, because the watch cannot continue where it ended. */
  private async reload(): Promise<void> {
    this.stats.reloads++;
    this.reloading = true;
    this.stopWatch?.();
    this.stopWatch = undefined;
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
    if (this.base.next === undefined) {
      this.events.reloaded();
      this.advanced();
    }
    this.goOnOrFail();
  }

  // --- moving to another host ----------------------------------------------------------------------------

  /** Follows the log, on the next host if the base says so. Until it is open, rejects with UNAVAILABLE. */
  private async goOn(): Promise<void> {
    while (this.base.next !== undefined && !this.closed) {
      if (!this.isMoving) this.leaveFor(this.base.next);
      await this.arrive(this.base.next);
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

  /** Turns to the next host. Until the base there is known, nothing can be appended. */
  private leaveFor(next: NextHost): void {
    this.stopWatch?.();
    this.stopWatch = undefined;
    this.host = this.options.hostOf(next);
    this.hostShard = next.shard;
    this.fold = this.fold.rehosted(next.shard, this.baseRevision);
    this.hosts++;
    this.isMoving = true;
    this.seen = 0;
    this.baseRevision = 0;
    this.advanced();
  }

  /** Resolves when the base on the next host is folded. The first proxy that arrives writes it. */
  private async arrive(next: NextHost): Promise<void> {
    while (!this.closed && this.isMoving) {
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
    if (this.closed || !this.opened || this.base.next !== undefined) return;
    this.events.reloaded();
    this.advanced();
  }

  /** Loads the log from its new host, or writes the first base there. */
  private async loadNext(next: NextHost): Promise<void> {
    const loaded = await this.host.load();
    requireMark(loaded, next, this.base.store);
    const stored = findBase(loaded.keys);
    // A host that the log has had before still has an older base.
    if (stored !== undefined && (decodeBaseHead(stored.value).hosts ?? 1) >= this.hosts) {
      this.take(loaded);
      return;
    }
    const { base, fold } = this;
    await this.commitBase(stored?.modRevision ?? 0, {
      base,
      covers: loaded.revision,
      parts: new Map(
        loaded.keys.flatMap(({ key, createRevision }) => (isPartKey(key) ? [[key, createRevision]] : [])),
      ),
      firstNeededEpoch: base.epoch + 1,
      // As after pruning, all parts are written anew.
      change: { hosts: this.hosts, pruned: { table: fold.snapshot().table, at: base.prunedAt } },
    });
  }

  private foldSafely(changes: readonly HostChange[]): void {
    let outcome: "reload" | "leave" | undefined;
    try {
      outcome = this.foldChanges(changes);
    } catch (reason) {
      // An entry is not readable. Without it, later revisions would be wrong.
      this.stopWatch?.();
      this.stopWatch = undefined;
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
    else this.truncateWhenLong();
  }

  /**
   * Folds changes in order. Returns "reload" when a base has rewritten the old segments, so that the log must be reloaded, and
   * "leave" when the log continues on another host.
   */
  private foldChanges(changes: readonly HostChange[]): "reload" | "leave" | undefined {
    for (const change of changes) {
      // A reopened watch may repeat changes that a late message of the old one brought.
      if (change.revision <= this.seen) continue;
      let newBase: ReturnType<typeof decodeBaseHead> | undefined;
      for (const { key, value } of change.puts) {
        if (isEntryKey(key)) {
          this.entries++;
          this.stats.entries++;
          this.proposers.note(proxyOf(key), this.options.runtime.now());
          this.events.applied(key, this.fold.apply(decodeEntry(value), change.revision));
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
      this.entries = 0;
      this.entriesBeforeBase = this.drawLimit();
      if (newBase.next !== undefined) return "leave";
      if (rewritten) return "reload";
    }
    return undefined;
  }

  // --- truncation --------------------------------------------------------------------------------------

  protected partSizes(): PartSizes {
    return PART_SIZES;
  }

  protected drawLimit(): number {
    return ENTRIES_PER_EPOCH * (1 + this.options.runtime.random());
  }

  private truncateWhenLong(): void {
    // A failure does no harm: the log stays longer, and the next entry tries again.
    if (this.entries > this.entriesBeforeBase) this.writeBase().catch(() => {});
  }

  /**
   * Closes the epoch: writes the current fold as the next base, and deletes what the log no longer needs. Resolves to false
   * when another proxy was faster, or when this proxy is writing a base already.
   */
  async writeBase(change: BaseChange = {}): Promise<boolean> {
    // The last base on a host stays as it is.
    if (this.writingBase || this.base.next !== undefined) return false;
    this.writingBase = true;
    try {
      return await this.replaceBase(change);
    } finally {
      this.writingBase = false;
    }
  }

  /** The next base may delete entries of epochs before this one, because the current base covers them all. */
  protected firstNeededEpoch(): number {
    return this.base.epoch;
  }

  private async replaceBase(change: BaseChange): Promise<boolean> {
    return this.commitBase(this.baseRevision, {
      base: this.base,
      covers: this.seen,
      parts: this.parts,
      firstNeededEpoch: this.firstNeededEpoch(),
      change,
    });
  }

  /** The host's mark. Throws DATA_LOSS if the host has lost it. */
  private async markToRaise({ store }: Base): Promise<HostKey> {
    const { keys } = await this.host.load();
    const name = store && markKey(store).toString("latin1");
    const mark = keys.find(({ key }) => key === name);
    if (mark !== undefined) return mark;
    throw new StatusError(Code.DATA_LOSS, "etcd-braid: the timeline host has lost its mark");
  }

  private async commitBase(
    guard: number,
    input: Omit<BaseInput, "guard" | "state" | "sizes" | "newPart">,
  ): Promise<boolean> {
    const { host } = this;
    const { proxy, endpoints = new Map() } = this.options;
    // The plan is a snapshot. Entries that are folded while the parts are written stay in the log.
    const { parts, value, deletes } = planBase({
      ...input,
      change: { endpoints, ...input.change },
      guard,
      state: this.fold.store,
      sizes: this.partSizes(),
      newPart: () => partKey(input.base.epoch + 1, proxy, this.counter++),
    });
    const mark = input.change.endsSole ? await this.markToRaise(input.base) : undefined;
    const tail = { key: TAIL, value: EMPTY };
    for (const part of parts) {
      // Every change to the log puts the tail, so that the next append sees that there was a change before it.
      if (!(await host.commit(guard, [part, tail], [])).committed) return false;
    }
    const puts = [
      { key: BASE, value },
      { key: TAIL, value: EMPTY },
      ...(mark === undefined ? [] : [{ key: mark.key, value: withGen(mark.value, 1) }]),
    ];
    const { committed } = await host.commit(guard, puts, deletes, mark);
    if (committed) this.stats.ownBases++;
    return committed;
  }
}

/** False for a change that only raises gen on the host. */
const isOfLog = ({ puts, deletes }: HostChange): boolean =>
  deletes.length > 0 || puts.some(({ key, value }) => !isRaisedMark(key, value));

const EMPTY = Buffer.alloc(0);
const NOTHING_REACHED: Entry["reached"] = new Map();

/** Codes of loads that fail permanently: the log is lost, of another store, or not readable. */
const PERMANENT: ReadonlySet<Code> = new Set([Code.DATA_LOSS, Code.FAILED_PRECONDITION, Code.INTERNAL]);
