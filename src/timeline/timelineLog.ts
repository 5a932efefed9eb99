import { Locator } from "../reshard/locator.js";
import { StatusError } from "../status/error.js";
import { type Base, PART_SIZES, type PartSizes } from "./base.js";
import type { BaseChange } from "./basePlan.js";
import { BaseWriter } from "./baseWriter.js";
import { type Entry, encodeEntry } from "./entry.js";
import { FoldedLog } from "./foldedLog.js";
import { Follower } from "./follower.js";
import type { HostCarried, LogTail, NextHost } from "./host.js";
import { entryKey } from "./keys.js";
import type { LogEvents, LogOptions } from "./logOptions.js";
import { TimelineStats } from "./stats.js";
import type { StoreFold } from "./storeFold.js";

/** Entries in an epoch before a proxy writes a new base: this many, plus a random number up to as many again. */
const ENTRIES_PER_EPOCH = 512;

/** Storage of the timeline: follows the log, reads its end, appends, and writes new bases. */
export class TimelineLog {
  /** What is folded of the log. */
  readonly folded: Readonly<FoldedLog>;
  /** Locates keys by what is folded at the moment of the call. */
  readonly locator: Locator;
  readonly stats = new TimelineStats();
  private readonly follower: Follower;
  private readonly bases: BaseWriter;
  /** Number of keys that were used for entries. */
  private counter = 0;
  private writingBase = false;
  /** True while `advanced` waits for the end of the turn. */
  private isReaching = false;

  constructor(
    private readonly options: LogOptions,
    private readonly events: LogEvents,
  ) {
    const { hostShard, maps } = options;
    const folded = new FoldedLog(hostShard, events.applied, this.stats, () => this.drawLimit());
    this.folded = folded;
    this.locator = new Locator({ snapshot: () => folded.fold.store.placement }, maps, {
      cutAt: (revision, shard) => folded.fold.cutAt(revision, shard),
    });
    this.bases = new BaseWriter(options, this.partSizes(), this.stats);
    this.follower = new Follower(options, folded, this.bases, this.stats, events, () => {
      // A failure does no harm: the log stays longer, and the next entry tries again.
      if (folded.isLong) this.writeBase().catch(() => {});
    });
  }

  /** The fold of a prefix of the log. */
  get fold(): StoreFold {
    return this.folded.fold;
  }

  /** The newest base. Undefined until the log is loaded. */
  get base(): Base {
    return this.folded.base;
  }

  /** Number of other processes that have appended an entry in the last minute. */
  get otherProposers(): number {
    return this.folded.proposers.others(this.options.proxy, this.options.runtime.now());
  }

  /**
   * Loads the log, or begins one, and follows it. Rejects when the host cannot be reached, and with what `accept` throws. Then it
   * may be called again.
   */
  open(): Promise<void> {
    return this.follower.open();
  }

  close(): void {
    this.follower.close();
  }

  // --- appending ---------------------------------------------------------------------------------------

  /** Returns a key for the next entry. Never returns a key twice, so entries with unknown outcome are not overwritten. */
  nextKey(): string {
    return entryKey(this.folded.base.epoch, this.options.proxy, this.counter++);
  }

  /**
   * Mod revision of the newest base known here, which guards appends: after a newer base, an append with this guard can no
   * longer take effect.
   */
  get guard(): number {
    return this.folded.baseRevision;
  }

  /**
   * Appends an entry once. Folds it directly if it is the next change of the log; otherwise the watch will. `isFolded` tells
   * whether that has happened. It is undefined when another proxy had written a new base: nothing was appended, the new base is
   * known by now, and the caller retries with a new key. With an error the outcome is unknown.
   */
  append(
    key: string,
    proposal: Entry,
    done: (error: StatusError | undefined, isFolded: (() => boolean) | undefined) => void,
  ): void {
    const { folded, follower } = this;
    const { hosts, isMoving, baseRevision } = folded;
    const notLanded = (until: () => boolean) =>
      follower.until(until).then(
        () => done(undefined, undefined),
        (reason) => done(StatusError.from(reason), undefined),
      );
    if (isMoving) {
      void notLanded(() => !folded.isMoving);
      return;
    }
    const entry = { ...proposal, raftTerm: folded.newTerm };
    follower.host.append(baseRevision, key, encodeEntry(entry), (error, result) => {
      // When the log moved, everything that was appended to the old host was folded. All else never takes effect.
      if (folded.hosts !== hosts) {
        done(undefined, error === undefined && result.committed ? () => true : undefined);
        return;
      }
      if (error !== undefined) {
        done(error, undefined);
        return;
      }
      folded.observe(result.raftTerm);
      if (!result.committed) {
        this.stats.appendsRefused++;
        void notLanded(() => folded.baseRevision !== baseRevision || folded.hosts !== hosts);
        return;
      }
      follower.appended(key, entry, result);
      done(undefined, () => folded.seen >= result.revision || folded.hosts !== hosts);
    });
  }

  /**
   * True if a client's put on the host can carry an entry now. Versions that know only bases of format 1 do not know such an
   * entry, and may follow the log of a store with such a base.
   */
  get canCarry(): boolean {
    const { base, fold } = this.folded;
    return base.format !== 1 && base.next === undefined && !fold.isSole;
  }

  /**
   * Makes an entry that a client's put on the host carries in its transaction, which must happen only if the entry's compare
   * holds. The entry seals the put. It is folded when the result is settled, or when the watch brings it.
   */
  carry(): HostCarried {
    const { folded, follower } = this;
    const { hosts } = folded;
    const key = this.nextKey();
    const entry: Entry = {
      reached: NOTHING_REACHED,
      compact: 0,
      leases: [],
      raftTerm: folded.newTerm,
      own: true,
    };
    const { fields, settle } = follower.host.carry(folded.baseRevision, key, encodeEntry(entry));
    return {
      fields,
      settle: (response) => {
        const result = settle(response);
        // When the log moved, everything that was appended to the old host was folded.
        if (result.committed && folded.hosts === hosts) {
          folded.observe(result.raftTerm);
          follower.appended(key, entry, result);
        }
        return result;
      },
    };
  }

  // --- the end of the log --------------------------------------------------------------------------------

  /** Name of the host in errors. */
  get hostLabel(): string {
    return this.follower.host.label;
  }

  /** False while no call can be sent to the host. */
  get isConnected(): boolean {
    return this.follower.host.isConnected;
  }

  /** Reads the log's end linearizably. If the log moves meanwhile, the end can be on the next host. */
  async readEnd(): Promise<LogTail> {
    const { hosts } = this.folded;
    try {
      const tail = await this.follower.host.tail();
      this.events.endRead(undefined);
      return tail;
    } catch (reason) {
      // The old host may be switched off.
      if (this.folded.hosts !== hosts) return { end: 0, revision: 0, raftTerm: 0 };
      const error = StatusError.from(reason);
      this.events.endRead(error);
      throw error;
    }
  }

  /** Reads the log's end and folds up to it. */
  async sync(): Promise<void> {
    const { folded } = this;
    for (;;) {
      const { hosts } = folded;
      const { end, revision, raftTerm } = await this.readEnd();
      await this.follower.until(() => folded.seen >= end || folded.hosts !== hosts);
      // The end may be on the next host.
      if (folded.hosts !== hosts) continue;
      if (folded.fold.isSole) {
        folded.observe(raftTerm);
        this.reach(revision);
      }
      return;
    }
  }

  /**
   * Tells that the host was at `hostRevision` while the store was a sole one, so that everything up to there is in the timeline.
   * Does nothing in any other store.
   */
  reach(hostRevision: number): void {
    if (!this.folded.reach(hostRevision) || this.isReaching) return;
    this.isReaching = true;
    // Once for all that is reached in this turn.
    this.options.runtime.soon(() => {
      this.isReaching = false;
      this.follower.advanced();
    });
  }

  // --- bases -------------------------------------------------------------------------------------------

  /**
   * Resolves when a base newer than the one at `guard` is folded here. Writes one if there is none. Rejects with UNAVAILABLE
   * when the host cannot be reached.
   */
  fence(guard: number): Promise<void> {
    return this.rebase(() => this.folded.baseRevision !== guard);
  }

  /** Writes a base of format 2, unless there is one already. Rejects with UNAVAILABLE when the host cannot be reached. */
  async requirePlacement(): Promise<void> {
    await this.endSole();
    await this.rebase(() => this.folded.base.format >= 2, { format: 2 });
  }

  /**
   * Ends a sole store, so that the log can have entries. Resolves immediately for any other store. Rejects with UNAVAILABLE when
   * the host cannot be reached.
   */
  endSole(): Promise<void> {
    return this.rebase(() => !this.folded.fold.isSole, { endsSole: true });
  }

  /**
   * Moves the log to another host, and resolves when this proxy follows it there. The next host must not have data of another
   * store. Rejects with UNAVAILABLE when a host cannot be reached; then the log may have moved or not.
   */
  async moveTo(next: NextHost): Promise<void> {
    await this.requirePlacement();
    const { folded } = this;
    const { hosts } = folded;
    await this.rebase(() => folded.hosts !== hosts, { next, format: 3 });
    await this.follower.until(() => !folded.isMoving);
  }

  /** Resolves when `done()` holds. Until then, writes a base with `change`, unless another proxy is faster. */
  private async rebase(done: () => boolean, change?: BaseChange): Promise<void> {
    while (!done()) {
      if (this.follower.failure !== undefined) throw this.follower.failure;
      if (await this.writeBase(change)) await this.follower.until(done);
      else await this.sync();
    }
  }

  /**
   * Closes the epoch: writes the current fold as the next base, and deletes what the log no longer needs. Resolves to false
   * when another proxy was faster, or when this proxy is writing a base already.
   */
  async writeBase(change: BaseChange = {}): Promise<boolean> {
    const { base, baseRevision, seen, fold, parts } = this.folded;
    // The last base on a host stays as it is.
    if (this.writingBase || base.next !== undefined) return false;
    this.writingBase = true;
    try {
      return await this.bases.write(this.follower.host, {
        base,
        guard: baseRevision,
        covers: seen,
        state: fold.store,
        parts,
        firstNeededEpoch: this.firstNeededEpoch(),
        change,
      });
    } finally {
      this.writingBase = false;
    }
  }

  protected partSizes(): PartSizes {
    return PART_SIZES;
  }

  protected drawLimit(): number {
    return ENTRIES_PER_EPOCH * (1 + this.options.runtime.random());
  }

  /** The next base may delete entries of epochs before this one, because the current base covers them all. */
  protected firstNeededEpoch(): number {
    return this.folded.base.epoch;
  }
}

const NOTHING_REACHED: Entry["reached"] = new Map();
