import type { Logger } from "../ops/log.js";
import type { Caller } from "../shard/caller.js";
import type { Shard } from "../shard/shard.js";
import type { Runtime } from "../turn/runtime.js";
import { type RenewalCounts, RenewalStream } from "./upstream.js";

/** Streams of a caller that has renewed nothing for one to two of these are closed, ms. */
const IDLE_MS = 60_000;

interface Used {
  readonly streams: readonly RenewalStream[];
  idle: boolean;
}

/**
 * The keep-alive streams of each caller to each shard: the shards judge renewals by the token of their stream. Without
 * authentication there is one caller, the proxy itself.
 */
export class CallerStreams {
  readonly counts: RenewalCounts = { missed: 0 };
  private readonly own: readonly RenewalStream[];
  private readonly callers = new Map<Caller, Used>();
  private stopSweeping: (() => void) | undefined;
  private stopped = false;

  constructor(
    private readonly shards: readonly Shard[],
    private readonly log: Pick<Logger, "warn">,
    private readonly runtime: Runtime,
  ) {
    this.own = this.streamsFor(undefined);
  }

  /** By shard. They open with the first renewal. */
  of(caller: Caller | undefined): readonly RenewalStream[] {
    if (caller === undefined) return this.own;
    let used = this.callers.get(caller);
    if (used === undefined) {
      used = { streams: this.streamsFor(caller), idle: false };
      this.callers.set(caller, used);
      if (!this.stopped) this.stopSweeping ??= this.runtime.interval(IDLE_MS, () => this.sweep(), true);
    }
    used.idle = false;
    return used.streams;
  }

  stop(): void {
    this.stopped = true;
    this.stopSweeping?.();
    for (const streams of [this.own, ...[...this.callers.values()].map((used) => used.streams)]) {
      for (const stream of streams) stream.stop();
    }
  }

  private streamsFor(caller: Caller | undefined): readonly RenewalStream[] {
    const streams = this.shards.map(
      (shard) => new RenewalStream(shard, this.log, this.counts, this.runtime, caller),
    );
    if (this.stopped) for (const stream of streams) stream.stop();
    return streams;
  }

  private sweep(): void {
    for (const [caller, used] of this.callers) {
      if (used.idle && !used.streams.some(({ isBusy }) => isBusy)) {
        for (const stream of used.streams) stream.stop();
        this.callers.delete(caller);
      }
      used.idle = true;
    }
    if (this.callers.size > 0) return;
    this.stopSweeping?.();
    this.stopSweeping = undefined;
  }
}
