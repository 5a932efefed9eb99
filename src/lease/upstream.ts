import type { Logger } from "../ops/log.js";
import { isDenied, problemOf } from "../shard/access.js";
import type { Caller } from "../shard/caller.js";
import { describeShard } from "../shard/name.js";
import type { Shard, ShardStream } from "../shard/shard.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import type { Runtime } from "../turn/runtime.js";
import { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../wire/messages.js";
import { Lease } from "../wire/paths.js";

/** The shard's answer: the TTL from now on in seconds, 0 when the shard does not have the lease. */
export type Renewed = (error: StatusError | undefined, ttl: number) => void;

/**
 * How long a renewal waits on a stream that brings no answers at all, ms: what a single etcd allows itself (its
 * request timeout). While others are answered a renewal has its place in the queue: etcd answers in order.
 */
const RENEWAL_TIMEOUT = 5_000;
/** A stream on which nothing has come for this long while an answer was due is given up for a new one, ms. */
const STALL = 2_000;
/** How often deadlines are looked at while something is in flight, ms. */
const TICK = 250;
const FIRST_BACKOFF = 50;
const LAST_BACKOFF = 1_000;
/** At most one log line about missed renewals of a shard in this time, ms. */
const LOG_EVERY = 5_000;

interface Waiter {
  readonly deadline: number;
  readonly done: Renewed;
}

/** For metrics. */
export interface RenewalCounts {
  /** Renewals that had no answer in time, ever. */
  missed: number;
}

/**
 * A LeaseKeepAlive stream to one shard for one caller, shared by all leases and all clients of that caller. Opened
 * with the first renewal. When it breaks it is opened again, and what had no answer yet is sent again: renewing
 * twice is harmless. A renewal that is wanted while the same lease is in flight shares its answer.
 *
 * The shard judges the caller at each renewal. Since etcd answers in order, a refusal that ends the stream is the answer
 * to the oldest renewal in flight; the others are sent again, a few at first, so that many refusals in a row do not
 * cost the square of their number.
 */
export class RenewalStream {
  /** Leases whose renewal has not been sent on this stream. */
  private waiting = new Map<bigint, Waiter[]>();
  /** Those that have, oldest first. One whose waiters have given up keeps its place. */
  private inFlight = new Map<bigint, Waiter[]>();
  /** How many may be in flight. */
  private limit = Number.POSITIVE_INFINITY;
  /** True once this stream has brought an answer: its token was good then. */
  private answering = false;
  private stream: ShardStream | undefined;
  /** Changes with every stream, so that a late word of an old one is not taken for the new one's. */
  private generation = 0;
  private stopReopening: (() => void) | undefined;
  private backoff = FIRST_BACKOFF;
  private stopTicking: (() => void) | undefined;
  /** When something last happened for the better: a stream was begun, an answer came. */
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

  /** True while renewals wait for their answers. */
  get isBusy(): boolean {
    return this.waiting.size > 0 || this.inFlight.size > 0;
  }

  /** Renews a lease. `done` is called exactly once, with UNAVAILABLE naming the shard if no answer comes in time. */
  renew(lease: bigint, done: Renewed): void {
    if (this.stopped) {
      done(this.closing(), 0);
      return;
    }
    const now = this.runtime.now();
    const waiter = { deadline: now + RENEWAL_TIMEOUT, done };
    const waiters = this.inFlight.get(lease) ?? this.waiting.get(lease);
    if (waiters !== undefined) {
      waiters.push(waiter);
      return;
    }
    if (!this.isBusy) this.lastSign = now;
    this.stopTicking ??= this.runtime.interval(TICK, () => this.look());
    if (this.stream !== undefined && this.waiting.size === 0 && this.inFlight.size < this.limit) {
      this.send(lease, [waiter], this.stream);
      return;
    }
    this.waiting.set(lease, [waiter]);
    if (this.stream === undefined && this.stopReopening === undefined) this.open();
  }

  /** Fails what is in flight and ends the stream. */
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
    this.backoff = FIRST_BACKOFF;
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

  /** The shard has ended the stream, because of the caller or for any other reason. */
  private ended(error: StatusError): void {
    if (!isDenied(error)) {
      this.lost(error);
    } else if (problemOf(error.message) === undefined) {
      this.refused(error);
    } else if (this.answering) {
      // A token that was good can be renewed.
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
      this.backoff = FIRST_BACKOFF;
      return; // the next renewal opens the next stream
    }
    const ms = this.backoff * (0.5 + this.runtime.random());
    this.backoff = Math.min(LAST_BACKOFF, this.backoff * 2);
    this.stopReopening = this.runtime.timer(ms, () => {
      this.stopReopening = undefined;
      if (this.isBusy) this.open();
    });
  }

  /** Forgets the stream; nothing it still says counts, and what was in flight waits again. */
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

  private look(): void {
    const now = this.runtime.now();
    if (now - this.lastAnswer >= RENEWAL_TIMEOUT) this.expire(now);
    this.restWhenIdle();
    if (this.stream !== undefined && this.isBusy && now - this.lastSign > STALL) {
      this.lost(
        new StatusError(Code.UNAVAILABLE, `${describeShard(this.shard)}: the keep-alive stream is silent`),
      );
    }
  }

  private expire(now: number): void {
    const late: Waiter[] = [];
    const take = (waiters: Waiter[]) => {
      const alive = waiters.findIndex((waiter) => waiter.deadline > now); // the first of a lease is its earliest
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
    if (now - this.lastLog >= LOG_EVERY) {
      const details = { shard: this.shard.name, missed: this.unlogged };
      const cause = lastError === undefined ? "" : `: ${withDetail(lastError)}`;
      this.log.warn(details, `lease keep-alives had no answer${cause}`);
      this.lastLog = now;
      this.unlogged = 0;
    }
    const cause = lastError === undefined ? "" : `: ${lastError.message}`;
    const text = `${describeShard(this.shard)}: no answer to a lease keep-alive within ${RENEWAL_TIMEOUT} ms${cause}`;
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
