import type { Logger } from "../ops/log.js";
import type { Caller } from "../shard/caller.js";
import type { Shard } from "../shard/shard.js";
import type { Runtime } from "../turn/runtime.js";
import { type RenewalCounts, RenewalStream } from "./renewalStream.js";

/** The streams of a caller are closed once it has renewed nothing for one to two of these intervals. */
const IDLE_MS = 60_000;

interface CallerEntry {
  readonly streams: readonly RenewalStream[];
  idle: boolean;
}

/**
 * The keep-alive streams of each caller to each shard. A shard checks renewals against the token of their stream, so
 * callers cannot share one. Without authentication the proxy itself is the only caller.
 */
export class CallerStreams {
  readonly counts: RenewalCounts = { missed: 0 };
  private readonly own: readonly RenewalStream[];
  private readonly callers = new Map<Caller, CallerEntry>();
  private stopSweeping: (() => void) | undefined;
  private stopped = false;

  constructor(
    private readonly shards: readonly Shard[],
    private readonly log: Pick<Logger, "warn">,
    private readonly runtime: Runtime,
  ) {
    this.own = this.streamsFor(undefined);
  }

  /** The caller's streams, by shard. Each opens with its first renewal. */
  of(caller: Caller | undefined): readonly RenewalStream[] {
    if (caller === undefined) return this.own;
    let entry = this.callers.get(caller);
    if (entry === undefined) {
      entry = { streams: this.streamsFor(caller), idle: false };
      this.callers.set(caller, entry);
      if (!this.stopped) this.stopSweeping ??= this.runtime.interval(IDLE_MS, () => this.sweep(), true);
    }
    entry.idle = false;
    return entry.streams;
  }

  /** Closes all streams. Renewals in flight fail with UNAVAILABLE. */
  stop(): void {
    this.stopped = true;
    this.stopSweeping?.();
    for (const streams of [this.own, ...[...this.callers.values()].map((entry) => entry.streams)]) {
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
    for (const [caller, entry] of this.callers) {
      if (entry.idle && !entry.streams.some(({ isBusy }) => isBusy)) {
        for (const stream of entry.streams) stream.stop();
        this.callers.delete(caller);
      }
      entry.idle = true;
    }
    if (this.callers.size > 0) return;
    this.stopSweeping?.();
    this.stopSweeping = undefined;
  }
}
