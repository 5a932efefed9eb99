import type { Logger } from "../ops/log.js";
import type { Caller } from "../shard/caller.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Runtime } from "../turn/runtime.js";
import { type RenewalCounts, RenewalStream } from "./renewalStream.js";

/** The streams of a caller are closed once it has renewed nothing for one to two of these intervals. */
const IDLE_MS = 60_000;

/** A caller's streams. Each is made when it is first needed, and opens with its first renewal. */
export class Streams {
  /** Set by each use. */
  idle = false;
  private readonly byShard: RenewalStream[] = [];

  constructor(private readonly make: (shard: number) => RenewalStream) {}

  at(shard: number): RenewalStream {
    const known = this.byShard[shard];
    if (known !== undefined) return known;
    const stream = this.make(shard);
    this.byShard[shard] = stream;
    return stream;
  }

  get isBusy(): boolean {
    return this.byShard.some(({ isBusy }) => isBusy);
  }

  /** Stops the stream to one shard. The next use makes another one. */
  drop(shard: number): void {
    this.byShard[shard]?.stop();
    delete this.byShard[shard];
  }

  stop(): void {
    this.byShard.forEach((stream) => {
      stream.stop();
    });
  }
}

/**
 * The keep-alive streams of each caller to each shard. A shard checks renewals against the token of their stream, so
 * callers cannot share one. Without authentication the proxy itself is the only caller.
 */
export class CallerStreams {
  readonly counts: RenewalCounts = { missed: 0 };
  private readonly own: Streams;
  private readonly callers = new Map<Caller, Streams>();
  private stopSweeping: (() => void) | undefined;
  private stopped = false;

  constructor(
    private readonly shards: ShardSet,
    private readonly log: Pick<Logger, "warn">,
    private readonly runtime: Runtime,
  ) {
    this.own = this.streamsFor(undefined);
    shards.follow({
      added: () => {},
      retired: (_, shard) => {
        for (const streams of this.all()) streams.drop(shard);
      },
    });
  }

  of(caller: Caller | undefined): Streams {
    if (caller === undefined) return this.own;
    let streams = this.callers.get(caller);
    if (streams === undefined) {
      streams = this.streamsFor(caller);
      this.callers.set(caller, streams);
      if (!this.stopped) this.stopSweeping ??= this.runtime.interval(IDLE_MS, () => this.sweep(), true);
    }
    streams.idle = false;
    return streams;
  }

  /** Closes all streams. Renewals in flight fail with UNAVAILABLE. */
  stop(): void {
    this.stopped = true;
    this.stopSweeping?.();
    for (const streams of this.all()) streams.stop();
  }

  private all(): readonly Streams[] {
    return [this.own, ...this.callers.values()];
  }

  private streamsFor(caller: Caller | undefined): Streams {
    return new Streams((shard) => {
      const { log, counts, runtime } = this;
      const stream = new RenewalStream(this.shards.at(shard), log, counts, runtime, caller);
      if (this.stopped) stream.stop();
      return stream;
    });
  }

  private sweep(): void {
    for (const [caller, streams] of this.callers) {
      if (streams.idle && !streams.isBusy) {
        streams.stop();
        this.callers.delete(caller);
      }
      streams.idle = true;
    }
    if (this.callers.size > 0) return;
    this.stopSweeping?.();
    this.stopSweeping = undefined;
  }
}
