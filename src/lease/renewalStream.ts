import type { Logger } from "../ops/log.js";
import { isDenied, problemOf } from "../shard/access.js";
import type { Caller } from "../shard/caller.js";
import { describeShard } from "../shard/name.js";
import type { Shard, ShardStream } from "../shard/shard.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../wire/messages.js";
import { Lease } from "../wire/paths.js";

/** Receives the new TTL in seconds, 0 if the shard does not have the lease. */
export type Renewed = (error: StatusError | undefined, ttl: number) => void;

/**
 * How long a renewal waits on a stream without any response. Clients such as Patroni wait for 2.5 seconds, and should get the
 * error. While the stream brings responses, a renewal stays in the queue, because etcd responds in order.
 */
const RENEWAL_TIMEOUT_MS = 2_250;
/** A stream is replaced if it has brought nothing for this long while a response is due. */
const STALL_TIMEOUT_MS = 1_000;
/** How often deadlines are checked while renewals wait. */
const CHECK_INTERVAL_MS = 250;
const MIN_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1_000;
/** Missed renewals of a shard are logged at most once in this interval. */
const LOG_INTERVAL_MS = 5_000;

interface Waiter {
  readonly deadline: number;
  readonly done: Renewed;
}

/** Counts for metrics. */
export interface RenewalCounts {
  /** Renewals without a response in time, since the start. */
  missed: number;
}

/**
 * A LeaseKeepAlive stream to one shard for one caller, shared by all leases and clients of that caller. It opens with the
 * first renewal. If it breaks, it is reopened, and renewals without a response are sent again, which is harmless. Renewals
 * of a lease that is already in flight share its response.
 *
 * The shard checks the caller's permission at each renewal. etcd responds in order, so a refusal that ends the stream
 * belongs to the oldest renewal in flight. The others are sent again, at first only one at a time, so that many refusals
 * in a row do not cost quadratic time.
 */
export class RenewalStream {
  /** Renewals that have not been sent on this stream. */
  private waiting = new Map<bigint, Waiter[]>();
  /** Renewals sent on this stream, oldest first. A renewal whose waiters have timed out stays in the queue. */
  private inFlight = new Map<bigint, Waiter[]>();
  /** Most renewals in flight. */
  private limit = Number.POSITIVE_INFINITY;
  /** True once this stream has brought a response, so that its token was valid. */
  private answering = false;
  private stream: ShardStream | undefined;
  /** Changes with every stream, so that late events of an old stream are ignored. */
  private generation = 0;
  private stopReopening: (() => void) | undefined;
  private backoff = MIN_BACKOFF_MS;
  private stopTicking: (() => void) | undefined;
  /** When a stream was last opened or last brought a response. */
  private lastSign = Number.NEGATIVE_INFINITY;
  private lastAnswer = Number.NEGATIVE_INFINITY;
  private lastError: StatusError | undefined;
  private lastLog = Number.NEGATIVE_INFINITY;
  private unlogged = 0;
  private stopped = false;

  constructor(
    private readonly shard: Shard,
    private readonly log: Pick<Logger, "warn">,
    private readonly counts: RenewalCounts,
    private readonly runtime: Runtime,
    private readonly caller?: Caller,
  ) {}

  /** True while renewals wait for responses. */
  get isBusy(): boolean {
    return this.waiting.size > 0 || this.inFlight.size > 0;
  }

  /** Renews a lease. Calls `done` exactly once, with UNAVAILABLE and the shard's name if there is no response in time. */
  renew(lease: bigint, done: Renewed): void {
    if (this.stopped) {
      done(this.closing(), 0);
      return;
    }
    const now = this.runtime.now();
    const waiter = { deadline: now + RENEWAL_TIMEOUT_MS, done };
    const waiters = this.inFlight.get(lease) ?? this.waiting.get(lease);
    if (waiters !== undefined) {
      waiters.push(waiter);
      return;
    }
    if (!this.isBusy) this.lastSign = now;
    this.stopTicking ??= this.runtime.interval(CHECK_INTERVAL_MS, () => this.checkDeadlines());
    if (this.stream !== undefined && this.waiting.size === 0 && this.inFlight.size < this.limit) {
      this.send(lease, [waiter], this.stream);
      return;
    }
    this.waiting.set(lease, [waiter]);
    if (this.stream === undefined && this.stopReopening === undefined) this.open();
  }

  /** Ends the stream. Renewals in flight fail with UNAVAILABLE. */
  stop(): void {
    this.stopped = true;
    this.drop();
    this.stopReopening?.();
    this.stopTicking?.();
    this.failAll(this.closing());
  }

  private open(): void {
    const generation = ++this.generation;
    this.lastSign = this.runtime.now();
    const events = {
      message: (message: Uint8Array) => {
        if (generation === this.generation) this.answered(message);
      },
      closed: (error: StatusError) => {
        if (generation === this.generation) this.ended(error);
      },
    };
    const stream = this.shard.stream(Lease.LeaseKeepAlive, events, { caller: this.caller });
    if (generation !== this.generation) return; // it failed at once
    this.stream = stream;
    this.sendWaiting(stream);
  }

  private sendWaiting(stream: ShardStream): void {
    for (const [lease, waiters] of this.waiting) {
      if (this.inFlight.size >= this.limit) return;
      this.waiting.delete(lease);
      this.send(lease, waiters, stream);
    }
  }

  private send(lease: bigint, waiters: Waiter[], stream: ShardStream): void {
    this.inFlight.set(lease, waiters);
    stream.send(LeaseKeepAliveRequest.encode({ id: lease }));
  }

  private answered(message: Uint8Array): void {
    this.lastSign = this.runtime.now();
    this.lastAnswer = this.lastSign;
    this.backoff = MIN_BACKOFF_MS;
    this.lastError = undefined;
    this.answering = true;
    this.limit *= 2;
    const { id, ttl } = LeaseKeepAliveResponse.decode(message);
    const waiters = this.inFlight.get(id) ?? [];
    this.inFlight.delete(id);
    if (this.waiting.size > 0 && this.stream !== undefined) this.sendWaiting(this.stream);
    this.restWhenIdle();
    for (const { done } of waiters) done(undefined, Math.max(0, ttl));
  }

  /** The shard has ended the stream, because it refused the caller or for another reason. */
  private ended(error: StatusError): void {
    if (!isDenied(error)) {
      this.lost(error);
    } else if (problemOf(error.message) === undefined) {
      this.refused(error);
    } else if (this.answering) {
      // The token was valid before, so a new one can be had: the reopened stream carries it.
      this.drop();
      this.open();
    } else {
      this.drop();
      this.failAll(error);
    }
  }

  /** The caller may not write a key of the lease whose renewal is the oldest in flight. */
  private refused(error: StatusError): void {
    const [oldest] = this.inFlight;
    if (oldest !== undefined) this.inFlight.delete(oldest[0]);
    this.limit = 1;
    this.drop();
    if (this.isBusy) this.open();
    else this.restWhenIdle();
    for (const { done } of oldest?.[1] ?? []) done(error, 0);
  }

  private failAll(error: StatusError): void {
    const waiters = [...this.inFlight.values(), ...this.waiting.values()].flat();
    this.inFlight.clear();
    this.waiting.clear();
    this.restWhenIdle();
    for (const { done } of waiters) done(error, 0);
  }

  private lost(error: StatusError): void {
    this.drop();
    this.lastError = error;
    if (!this.isBusy) {
      this.backoff = MIN_BACKOFF_MS;
      return; // the next renewal opens the next stream
    }
    const ms = this.backoff * (0.5 + this.runtime.random());
    this.backoff = Math.min(MAX_BACKOFF_MS, this.backoff * 2);
    this.stopReopening = this.runtime.timer(ms, () => {
      this.stopReopening = undefined;
      if (this.isBusy) this.open();
    });
  }

  /** Drops the stream and ignores its further events. Renewals in flight wait to be sent again. */
  private drop(): void {
    this.generation++;
    const stream = this.stream;
    this.stream = undefined;
    this.answering = false;
    stream?.cancel();
    for (const [lease, waiters] of this.inFlight) if (waiters.length === 0) this.inFlight.delete(lease);
    if (this.waiting.size > 0) for (const [lease, waiters] of this.waiting) this.inFlight.set(lease, waiters);
    this.waiting = this.inFlight;
    this.inFlight = new Map();
  }

  private checkDeadlines(): void {
    const now = this.runtime.now();
    if (now - this.lastAnswer >= RENEWAL_TIMEOUT_MS) this.expire(now);
    this.restWhenIdle();
    if (this.stream !== undefined && this.isBusy && now - this.lastSign > STALL_TIMEOUT_MS) {
      this.lost(
        new StatusError(Code.UNAVAILABLE, `${describeShard(this.shard)}: the keep-alive stream is silent`),
      );
    }
  }

  private expire(now: number): void {
    const late: Waiter[] = [];
    const take = (waiters: Waiter[]) => {
      const alive = waiters.findIndex((waiter) => waiter.deadline > now); // they are in order of their deadlines
      late.push(...waiters.splice(0, alive < 0 ? waiters.length : alive));
    };
    for (const waiters of this.inFlight.values()) take(waiters);
    for (const [lease, waiters] of this.waiting) {
      take(waiters);
      if (waiters.length === 0) this.waiting.delete(lease);
    }
    if (late.length > 0) this.giveUp(late, now);
  }

  private giveUp(late: readonly Waiter[], now: number): void {
    this.counts.missed += late.length;
    this.unlogged += late.length;
    const { lastError } = this;
    if (now - this.lastLog >= LOG_INTERVAL_MS) {
      const details = { shard: this.shard.name, missed: this.unlogged };
      const cause = lastError === undefined ? "" : `: ${withDetail(lastError)}`;
      this.log.warn(details, `lease keep-alives had no answer${cause}`);
      this.lastLog = now;
      this.unlogged = 0;
    }
    const cause = lastError === undefined ? "" : `: ${lastError.message}`;
    const text = `${describeShard(this.shard)}: no answer to a lease keep-alive within ${RENEWAL_TIMEOUT_MS} ms${cause}`;
    const error = new StatusError(Code.UNAVAILABLE, text, { cause: lastError });
    for (const { done } of late) done(error, 0);
  }

  private restWhenIdle(): void {
    if (this.isBusy) return;
    this.stopTicking?.();
    this.stopTicking = undefined;
  }

  private closing(): StatusError {
    return new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down");
  }
}
