import type { ShardClient } from "../../src/shard/client.js";
import type { CallOptions, Done, Shard, ShardStream, StreamEvents } from "../../src/shard/shard.js";
import { Code, StatusError } from "../../src/status/error.js";
import { WatchRequest } from "../../src/wire/messages.js";
import { Lease, Watch } from "../../src/wire/paths.js";
import type { Random } from "../timeline/sim/scheduler.js";
import type { ProcessClock } from "./process.js";
import { answerOf, NOTHING, type SimShard } from "./shard.js";

/** What goes wrong between the proxies and the shards. */
export interface LinkFaults {
  /** Chance that the connection breaks, at each call and after each message of a stream. */
  cut: number;
  /** Chance that a call takes long. */
  slow: number;
  /** Extra delay of a watch's messages, ms. The proxy is on a member that lags. */
  lag: number;
  /** Chance that a stream falls silent, at each of its messages. */
  mute: number;
}

/**
 * No stream falls silent before this age. The shard serves calls through the same member, so a feed would take the silence
 * of a young watch for a compacted revision without events.
 */
const MIN_TALKING_MS = 2_000;
/** Longest delay of a slow call, ms. A sweep for lost parts must not take so long that its proxy counts as blind. */
const MAX_SLOW_MS = 400;
/** How long a call without a deadline waits, ms. */
const REQUEST_TIMEOUT_MS = 5_000;

/** A call or stream that ends with the connection. */
interface UnderWay {
  fail(): void;
}

/** One proxy's connection to one shard. Delays calls and streams, breaks, and loses requests and responses. */
export class SimLink implements Shard, Pick<ShardClient, "onDisconnect"> {
  readonly index: number;
  readonly name: string;
  /** Time until which no connection can be made, ms. */
  downUntil = 0;
  private readonly underWay = new Set<UnderWay>();
  private readonly listeners: (() => void)[] = [];

  constructor(
    private readonly clock: ProcessClock,
    private readonly random: Random,
    private readonly shard: SimShard,
    private readonly faults: LinkFaults,
    /** Called with each write as it arrives. */
    private readonly onWrite: (path: string) => void,
    /** Called at each break. */
    private readonly onBreak: (ms: number) => void,
  ) {
    this.index = shard.index;
    this.name = `s${shard.index}`;
  }

  onDisconnect(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Breaks the connection and ends everything on it. No connection can be made for `ms`. */
  break(ms: number): void {
    this.downUntil = Math.max(this.downUntil, this.clock.now + ms);
    this.onBreak(ms);
    const lost = [...this.underWay];
    this.underWay.clear();
    for (const each of lost) each.fail();
    for (const listener of this.listeners) listener();
  }

  unary(path: string, request: Uint8Array, options: CallOptions, done: Done): () => void {
    let open = true;
    const settle = (error: StatusError | undefined, response: Uint8Array) => {
      if (!open) return;
      open = false;
      cancelTimeout();
      this.underWay.delete(entry);
      done(error, response);
    };
    /** False once it can no longer be executed. */
    let arrives = true;
    const entry = {
      fail: () => {
        if (this.random.chance(0.5)) arrives = false;
        this.clock.after(this.random.below(5), () => settle(this.lost(), NOTHING));
      },
    };
    const deadline = options.deadline ?? Number.POSITIVE_INFINITY;
    const wait = Math.min(REQUEST_TIMEOUT_MS, deadline - this.clock.date);
    const cancelTimeout = this.clock.after(wait, () => settle(this.timedOut(), NOTHING));
    if (this.isDown) {
      this.clock.after(this.random.below(20), () => settle(this.lost(), NOTHING));
    } else {
      this.underWay.add(entry);
      const { generation } = this.shard;
      this.atShard(() => {
        // A request on its way to an etcd that was replaced never arrives.
        if (!arrives || generation !== this.shard.generation) return;
        this.shard.onWrite = this.onWrite;
        const answer = answerOf(this.shard, path, request);
        this.shard.onWrite = () => {};
        this.clock.after(this.delay(), () => {
          if (answer instanceof StatusError) settle(answer, NOTHING);
          else settle(undefined, answer);
        });
      }, this.callDelay());
      if (this.random.chance(this.faults.cut)) {
        this.clock.after(this.random.below(10), () => this.break(this.random.below(300)));
      }
    }
    return () => {
      open = false;
      cancelTimeout();
      this.underWay.delete(entry);
    };
  }

  call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.unary(path, request, options, (error, response) => {
        if (error === undefined) resolve(response);
        else reject(error);
      });
    });
  }

  stream(path: string, events: StreamEvents): ShardStream {
    let open = true;
    let muted = false;
    let broken = false;
    const begun = this.clock.now;
    let arrival = 0;
    let sent = 0;
    let endAtShard = () => {};
    const end = () => {
      open = false;
      endAtShard();
      this.underWay.delete(entry);
    };
    const fail = (error: StatusError) => {
      this.clock.after(this.random.below(20), () => {
        if (!open) return;
        end();
        events.closed(error);
      });
    };
    const entry = {
      fail: () => {
        broken = true;
        fail(this.lost());
      },
    };
    const inOrder = (at: number, ms: number) => Math.max(at, this.clock.now + ms);
    const push = (message: Uint8Array) => {
      if (this.clock.now - begun > MIN_TALKING_MS && this.random.chance(this.faults.mute)) muted = true;
      if (!open || muted) return;
      const lag = path === Watch.Watch && this.faults.lag > 0 ? this.random.below(this.faults.lag) : 0;
      arrival = inOrder(arrival, this.delay() + lag);
      this.clock.after(arrival - this.clock.now, () => {
        if (open && !broken) events.message(message);
      });
      if (this.random.chance(this.faults.cut)) {
        this.clock.after(arrival - this.clock.now, () => this.break(this.random.below(300)));
      }
    };
    if (this.isDown) fail(this.lost());
    else this.underWay.add(entry);
    return {
      send: (message) => {
        if (!open) return;
        sent = inOrder(sent, this.delay());
        const { generation } = this.shard;
        this.clock.after(sent - this.clock.now, () =>
          this.atShard(() => {
            if (!open || this.isDown || generation !== this.shard.generation) return;
            if (path === Lease.LeaseKeepAlive) push(this.shard.keepAlive(message));
            else endAtShard = this.openWatch(message, push);
          }, 0),
        );
      },
      pause: () => {},
      resume: () => {},
      cancel: end,
    };
  }

  close(): void {
    this.underWay.clear();
  }

  private openWatch(message: Uint8Array, push: (frame: Uint8Array) => void): () => void {
    const request = WatchRequest.decode(message);
    if (request.kind !== "create") throw new Error("simulated: a watch that is not created");
    return this.shard.watch(request.request, push);
  }

  /** Runs `work` at the shard, which may be frozen when the request arrives. */
  private atShard(work: () => void, ms: number): void {
    this.clock.world.after(ms, () => {
      const frozen = this.shard.frozenUntil - this.clock.now;
      if (frozen > 0) this.clock.world.after(frozen, work);
      else work();
    });
  }

  private get isDown(): boolean {
    return this.clock.now < this.downUntil;
  }

  /** Delay of a call, ms. A busy shard may take long. */
  private callDelay(): number {
    return this.random.chance(this.faults.slow) ? this.random.below(MAX_SLOW_MS) : this.delay();
  }

  /** Delay of a message, ms. Mostly short and sometimes long, so that the order of messages varies. */
  private delay(): number {
    return this.random.chance(0.05) ? this.random.below(60) : this.random.below(5);
  }

  private lost(): StatusError {
    return new StatusError(Code.UNAVAILABLE, `shard "${this.name}": simulated: connection lost`);
  }

  private timedOut(): StatusError {
    return new StatusError(Code.UNAVAILABLE, `shard "${this.name}": simulated: no answer in time`);
  }
}
