import type { Holder, Locator } from "../../reshard/locator.js";
import type { Call } from "../../rpc/call.js";
import { Code, StatusError } from "../../status/error.js";
import type { Sealed, Timeline } from "../../timeline/view.js";
import type { KeyRange } from "../../wire/keyRange.js";
import { cancellation } from "./calls.js";
import type { KvLimits } from "./limits.js";

/**
 * What a call has to know about keys that move between shards, or have moved. In a store that has never had a plan, each
 * question costs one comparison.
 */
export class Places {
  /** Position up to which the fields below are known. */
  private known = -1;
  private calm = 0;
  private imported: ReadonlySet<number> = NONE;
  private readonly waiting = new Set<Waiter>();
  private stopListening: (() => void) | undefined;

  constructor(
    private readonly timeline: Timeline,
    private readonly limits: Pick<KvLimits, "requestTimeoutMs">,
  ) {}

  /** Position of the newest change of the placement. While it stays the same, what a call has found out here is true. */
  get position(): number {
    return this.timeline.placementPosition;
  }

  /**
   * The revision from which on every key is on its shard by the map in force, and no shard holds keys of others. Infinity
   * during a plan, 0 before the first. Other revisions have to be read through `holders`.
   */
  get calmFrom(): number {
    if (this.known !== this.position) this.learn();
    return this.calm;
  }

  /** True when a shard has imports: its keys' revisions need not be in the order of its shard revisions. */
  hasImports(shard: number): boolean {
    if (this.known !== this.position) this.learn();
    return this.imported.has(shard);
  }

  /** True when calls to the range must wait, because keys of it are moving at this moment. */
  isFrozen(range: KeyRange): boolean {
    return this.timeline.placement.plan?.frozen !== undefined && this.locator.isFrozen(boundsOf(range));
  }

  /** The newest revision, up to `revision`, at which all `ranges` can be read without waiting. */
  decided(ranges: Iterable<KeyRange>, revision: number): number {
    const frozen = this.firstFrozen(ranges);
    return frozen === undefined ? revision : Math.min(revision, this.decidedUntil(frozen));
  }

  /** The last revision that can be read of the range without waiting; see `Locator.decidedUntil`. */
  private decidedUntil(range: KeyRange): number {
    return this.isFrozen(range) ? this.locator.decidedUntil(boundsOf(range)) : Number.POSITIVE_INFINITY;
  }

  /**
   * Calls `done` once, when the range is not frozen: immediately, or after a wait. Fails when the client cancels, and with
   * UNAVAILABLE when the wait takes longer than the request timeout.
   */
  whenThawed(call: Call, range: KeyRange, done: Sealed): void {
    if (this.isFrozen(range)) this.wait(call, () => !this.isFrozen(range), done);
    else done(undefined);
  }

  /** `whenThawed` as a promise, for calls that are not hot. When it resolves, the range may be frozen again. */
  async untilThawed(call: Call, range: KeyRange): Promise<void> {
    if (this.isFrozen(range)) await this.waitFor(call, () => !this.isFrozen(range));
  }

  /** Resolves when the range can be read at `revision`. Rejects as `whenThawed` fails. */
  async untilDecided(call: Call, range: KeyRange, revision: number): Promise<void> {
    const isDecided = () => this.decidedUntil(range) >= revision;
    if (!isDecided()) await this.waitFor(call, isDecided);
  }

  /**
   * True when a shard's response at `shardRevision`, which is sealed, is the state of the range at `revision`. The shard was
   * chosen for the whole range at `position`, when the range was not frozen.
   */
  mayAnswer(
    position: number,
    range: KeyRange,
    shard: number,
    shardRevision: number,
    revision: number,
  ): boolean {
    // The timeline may have forgotten revisions that the response names.
    if (revision < this.timeline.prunedAt) return false;
    if (position === this.position) return true;
    // A response from below the compaction cannot be judged: moves that matter may be forgotten.
    if (revision < this.timeline.compactRevision || this.decidedUntil(range) < revision) return false;
    const holders = this.holders(range, revision);
    const [only] = holders;
    return holders.length === 1 && only?.shard === shard && only.at >= shardRevision;
  }

  /** All shards to read for the range's state at `revision`, which must be decided, with the shard revisions to read at. */
  holders(range: KeyRange, revision: number): readonly Holder[] {
    if (range.rangeEnd.length === 0) return [this.locator.holder(range.key, revision)];
    return this.locator.holders(boundsOf(range), revision);
  }

  /** Whether `holder`, one of the `holders` that were found for `revision`, has the key's state. */
  isHolder(holder: Holder, holders: readonly Holder[], key: Uint8Array, revision: number): boolean {
    return this.locator.choose(holders, key, revision) === holder;
  }

  /** Whether an event of the key counts that happened on `shard` at `shardRevision`, which is `revision`. */
  counts(key: Uint8Array, shard: number, shardRevision: number, revision: number): boolean {
    return this.locator.countsAt(key, shard, shardRevision, revision) === revision;
  }

  /** The first of `ranges` that is frozen. */
  firstFrozen(ranges: Iterable<KeyRange>): KeyRange | undefined {
    if (this.timeline.placement.plan?.frozen === undefined) return undefined;
    for (const range of ranges) if (this.isFrozen(range)) return range;
    return undefined;
  }

  private get locator(): Locator {
    return this.timeline.locator;
  }

  private learn(): void {
    const { plan, cleanFrom, twins, offsets } = this.timeline.placement;
    this.calm = plan === undefined ? cleanFrom : Number.POSITIVE_INFINITY;
    this.imported = new Set([...twins.shardIndices, ...offsets.shardIndices]);
    this.known = this.position;
  }

  private waitFor(call: Call, isOver: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.wait(call, isOver, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  private wait(call: Call, isOver: () => boolean, done: Sealed): void {
    if (call.cancelled) {
      done(cancellation(call));
      return;
    }
    const settle = (error: StatusError | undefined) => {
      if (!this.waiting.delete(waiter)) return;
      clearTimeout(timer);
      ignoreCancel();
      if (this.waiting.size === 0) this.stopListening?.();
      done(error);
    };
    const waiter: Waiter = { isOver, settle };
    const now = Date.now();
    // A timer may fire a little early.
    const patience = Math.min(call.deadline - now + 1, this.limits.requestTimeoutMs);
    const timer = setTimeout(
      () => settle(Date.now() >= call.deadline ? cancellation(call) : stillFrozen()),
      Math.max(0, patience),
    );
    this.waiting.add(waiter);
    if (this.waiting.size === 1) this.listen();
    const ignoreCancel = call.onCancel(() => settle(cancellation(call)));
  }

  /** Looks at the waiting calls after each change of the placement. */
  private listen(): void {
    let { position } = this;
    this.stopListening = this.timeline.onAdvance(() => {
      if (position === this.position) return;
      position = this.position;
      for (const waiter of [...this.waiting]) if (waiter.isOver()) waiter.settle(undefined);
    });
  }
}

const NONE: ReadonlySet<number> = new Set();

/** A call that waits for a thaw. */
interface Waiter {
  isOver(): boolean;
  settle(error: StatusError | undefined): void;
}

const boundsOf = ({ key, rangeEnd }: KeyRange) => ({ key, end: rangeEnd });

const stillFrozen = (): StatusError =>
  new StatusError(
    Code.UNAVAILABLE,
    "etcd-braid: keys of this request are moving to another shard, and the move takes too long; nothing was written",
  );
