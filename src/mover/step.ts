import { type Change, encodeChange } from "../reshard/change.js";
import { StatusError } from "../status/error.js";
import { isTooLarge } from "../status/tooLarge.js";
import { Comparing } from "./comparing.js";
import type { Target } from "./copying.js";
import { deleteKeys, doomedOf } from "./deleting.js";
import { GivenUp } from "./givenUp.js";
import type { Phase } from "./progress.js";
import { MoverError, type MoverTxn, type MoverTxnResult } from "./shard.js";

/** Most suspects to compare while a step is frozen. */
const MAX_FROZEN_SUSPECTS = 2_000;
/** Rounds of comparing while a step is frozen. */
const MAX_READY_ROUNDS = 5;
/** The part of an entry that a move may take before the freeze. More keys may change or end while the step is frozen. */
const ROOM = 0.8;
/** The part that it may take in the end. */
const LAST_ROOM = 0.95;
/** Pause before a move is logged again, in milliseconds. */
const MOVE_RETRY_MS = 50;

/**
 * One attempt at one step: the protocol of docs/resharding.md. Whatever can be done before the freeze is done before it. While
 * the step is frozen, only the last changes are applied and only the suspects are compared.
 */
export class Step extends Comparing {
  /**
   * Moves the step. The keys are still on the sources, too; see `clean`. Rejects with `GivenUp`, `MoverError` or
   * `StatusError` if this attempt has failed.
   */
  async run(): Promise<void> {
    const { deps } = this;
    try {
      deps.progress.step = { from: this.from, to: this.to };
      deps.progress.stepKeys = 0;
      await this.begin();
      this.enter("clear");
      for (const index of this.targets.keys()) await this.clear(index);
      this.enter("copy");
      await this.together(this.sources.map((index) => this.copy(index)));
      this.enter("verify");
      await this.verify();
      this.checkEntrySize(ROOM);
      this.enter("catch up");
      await this.settle();
      this.enter("freeze");
      const since = deps.runtime.now();
      const freeze = await this.freeze();
      this.position = freeze;
      const stops = await this.stop(freeze);
      this.enter("drain");
      await this.drain(stops);
      await this.makeReady();
      this.checkEntrySize(LAST_ROOM);
      this.enter("move");
      await this.move(freeze, stops);
      deps.progress.lastPauseMs = deps.runtime.now() - since;
    } finally {
      await this.close();
    }
  }

  private enter(phase: Phase): void {
    this.deps.progress.phase = phase;
  }

  /** Logs the begin and raises gen on the destinations to its position. */
  protected async begin(): Promise<void> {
    const { shardOf } = this.deps;
    // A source without space would refuse to raise gen. Better now than when all is copied and calls wait.
    await Promise.all(this.sources.map((index) => shardOf(index).checkSpace()));
    const position = await this.deps.log.proposeChange({ kind: "begin", mover: this.mover });
    // A valid begin proves that no key has moved since the choice of the step. From here on gen guards that.
    if (position === undefined || this.isOvertaken)
      throw new GivenUp("the plan has changed, or another mover has taken over");
    await Promise.all([...this.targets].map(([index, target]) => this.raiseTarget(index, target, position)));
  }

  /** Raises gen on a destination. From now on, every write of the mover compares that gen is `position`. */
  protected async raiseTarget(index: number, target: Target, position: number): Promise<void> {
    target.newest = await this.raiseGen(index, position);
    target.gen = position;
  }

  /** Raises gen on a shard. Resolves to the shard revision of that write. */
  protected async raiseGen(index: number, position: number): Promise<number> {
    const raised = await this.deps.shardOf(index).raiseGen(position);
    if (raised === undefined) throw new GivenUp("another mover has taken over");
    return raised;
  }

  /** Deletes what earlier attempts have left on a destination. */
  protected async clear(index: number): Promise<void> {
    const gen = this.ownGen(this.target(index));
    const doomed = doomedOf(this, this.destination, this.source, index);
    await deleteKeys(this.deps.shardOf(index), this, gen, this.deps, doomed, (txn) => {
      this.checkpoint();
      return this.importing(index, txn);
    });
  }

  /**
   * Throws `too large` when the move would not fit into an entry of the log, of which it may take the part `room`: a group has too
   * many keys, or too many keys have ended.
   */
  private checkEntrySize(room: number): void {
    const bytes = this.entryBytes();
    if (bytes > this.deps.options.maxRequestBytes * room) throw this.tooLarge(bytes);
  }

  private entryBytes(): number {
    return encodeChange(this.moveChange(0, new Map())).length;
  }

  private tooLarge(bytes: number): MoverError {
    const text = `the step's ${this.deps.progress.stepKeys} keys take ${bytes} bytes in an entry of the timeline log`;
    return new MoverError(
      "too large",
      `${text}: raise --max-request-bytes of the timeline host, or split the group`,
    );
  }

  /** Freezes the step. Resolves to the freeze's position. */
  private async freeze(): Promise<number> {
    const { number: plan, cursor } = this.plan;
    const freeze = await this.deps.log.proposeChange({
      kind: "freeze",
      mover: this.mover,
      plan,
      cursor,
      to: this.end,
    });
    if (freeze === undefined || this.deps.log.placement.plan?.frozen?.position !== freeze)
      throw new GivenUp("the plan has changed, or another mover has taken over");
    return freeze;
  }

  /** Raises gen for the freeze. Returns the stops: a source's changes up to its stop count. */
  protected async stop(freeze: number): Promise<ReadonlyMap<number, number>> {
    const stops = new Map<number, number>();
    await Promise.all([
      ...this.sources.map(async (index) => stops.set(index, await this.stopSource(index, freeze))),
      ...[...this.targets].map(([index, target]) => this.stopTarget(index, target, freeze)),
    ]);
    return stops;
  }

  protected stopSource(index: number, freeze: number): Promise<number> {
    return this.raiseGen(index, freeze);
  }

  protected stopTarget(index: number, target: Target, freeze: number): Promise<void> {
    return this.raiseTarget(index, target, freeze);
  }

  /** Applies the last changes of the sources. */
  protected async drain(stops: ReadonlyMap<number, number>): Promise<void> {
    await this.together([...stops].map(([index, stop]) => this.catchUp(index, stop, this.to)));
    await this.pipeline.drain();
  }

  /** Makes the destinations hold exactly what the sources held at their stops. */
  protected async makeReady(): Promise<void> {
    for (let round = 0; round < MAX_READY_ROUNDS; round++) {
      await this.followTargets();
      if (this.suspects.size === 0) return;
      if (this.suspects.size > MAX_FROZEN_SUSPECTS) break;
      await this.checkSuspects();
    }
    throw new GivenUp("the copies keep changing");
  }

  /** Keys that end with the move. */
  protected endedKeys(): readonly Uint8Array[] {
    return [...this.ended.values()];
  }

  private moveChange(freeze: number, stops: ReadonlyMap<number, number>): Change & { kind: "move" } {
    return {
      kind: "move",
      mover: this.mover,
      freeze,
      sources: [...stops].map(([shard, stop]) => ({ shard, stop })),
      destinations: [...this.targets].map(([shard, { newest, imports }]) => ({
        shard,
        ready: Math.max(1, newest),
        ...imports.list(),
      })),
      ended: this.endedKeys(),
    };
  }

  /** Logs the move until its outcome is known. */
  private async move(freeze: number, stops: ReadonlyMap<number, number>): Promise<void> {
    const { log, runtime, isStopping } = this.deps;
    const change = this.moveChange(freeze, stops);
    const reached = new Map(stops);
    for (const { shard, ready } of change.destinations)
      reached.set(shard, Math.max(ready, reached.get(shard) ?? 0));
    while (log.placement.plan?.frozen?.position === freeze) {
      try {
        await log.proposeChange(change, reached);
        if (log.placement.plan?.frozen?.position === freeze) await log.sync();
      } catch (error) {
        if (error instanceof StatusError && isTooLarge(error)) throw this.tooLarge(this.entryBytes());
        if (isStopping() || !isExpected(error)) throw error;
        await new Promise<void>((resolve) => runtime.timer(MOVE_RETRY_MS, resolve));
        await log.sync().catch(() => {});
      }
      if (log.placement.mover !== this.mover) throw new GivenUp("another mover has taken over");
    }
    // If another mover has thawed the step, the sources still hold the keys.
    if (!log.placement.moves.some((move) => move.freeze === freeze))
      throw new GivenUp("another mover has taken over");
  }

  /** Deletes the step's keys from the sources, after `run`. The end of the plan makes up for it if it fails. */
  async clean(): Promise<void> {
    this.enter("clean");
    for (const index of this.sources) {
      const doomed = doomedOf(this, this.source, this.destination, index);
      await deleteKeys(this.deps.shardOf(index), this, this.position, this.deps, doomed, (txn) =>
        this.cleaning(index, txn),
      );
    }
  }

  /** A transaction that deletes keys from a source after the move. */
  protected cleaning(index: number, txn: MoverTxn): Promise<MoverTxnResult> {
    return this.deps.shardOf(index).txn(txn);
  }
}

/** True for errors after which another attempt may succeed. All others are faults of the program. */
export const isExpected = (error: unknown): boolean =>
  error instanceof MoverError || error instanceof GivenUp || error instanceof StatusError;
