import type { Shard, ShardStream } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../wire/messages.js";
import { Lease } from "../wire/paths.js";
import type { LeaseLog } from "./log.js";

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

/**
 * The one LeaseKeepAlive stream of this proxy to one shard, shared by all leases and all clients. Opened with
 * the first renewal. When it breaks it is opened again, and what had no answer yet is sent again: renewing
 * twice is harmless. A renewal that is wanted while the same lease is in flight shares its answer.
 */
export class RenewalStream {
  /** Renewals that had no answer in time, ever. */
  missed = 0;
  private readonly pending = new Map<bigint, Waiter[]>();
  private stream: ShardStream | undefined;
  /** Changes with every stream, so that a late word of an old one is not taken for the new one's. */
  private generation = 0;
  private reopen: NodeJS.Timeout | undefined;
  private backoff = FIRST_BACKOFF;
  private tick: NodeJS.Timeout | undefined;
  /** When something last happened for the better: a stream was begun, an answer came. */
  private lastSign = 0;
  private lastAnswer = 0;
  private lastError: StatusError | undefined;
  private lastLog = 0;
  private unlogged = 0;
  private stopped = false;

  constructor(
    private readonly shard: Shard,
    private readonly log: LeaseLog,
  ) {}

  /** Renews a lease. `done` is called exactly once, with UNAVAILABLE naming the shard if no answer comes in time. */
  renew(lease: bigint, done: Renewed): void {
    if (this.stopped) {
      done(this.closing(), 0);
      return;
    }
    const now = Date.now();
    const waiter = { deadline: now + RENEWAL_TIMEOUT, done };
    const waiters = this.pending.get(lease);
    if (waiters !== undefined) {
      waiters.push(waiter);
      return;
    }
    if (this.pending.size === 0) this.lastSign = now;
    this.pending.set(lease, [waiter]);
    this.tick ??= setInterval(() => this.look(), TICK);
    if (this.stream !== undefined) this.stream.send(LeaseKeepAliveRequest.encode({ id: lease }));
    else if (this.reopen === undefined) this.open();
  }

  /** Fails what is in flight and ends the stream. */
  stop(): void {
    this.stopped = true;
    this.drop();
    clearTimeout(this.reopen);
    clearInterval(this.tick);
    const waiters = [...this.pending.values()].flat();
    this.pending.clear();
    for (const { done } of waiters) done(this.closing(), 0);
  }

  private open(): void {
    const generation = ++this.generation;
    this.lastSign = Date.now();
    const stream = this.shard.stream(Lease.LeaseKeepAlive, {
      message: (message) => {
        if (generation === this.generation) this.answered(message);
      },
      closed: (error) => {
        if (generation === this.generation) this.lost(error);
      },
    });
    if (generation !== this.generation) return; // it failed at once
    this.stream = stream;
    for (const lease of this.pending.keys()) stream.send(LeaseKeepAliveRequest.encode({ id: lease }));
  }

  private answered(message: Uint8Array): void {
    this.lastSign = Date.now();
    this.lastAnswer = this.lastSign;
    this.backoff = FIRST_BACKOFF;
    this.lastError = undefined;
    const { id, ttl } = LeaseKeepAliveResponse.decode(message);
    const waiters = this.pending.get(id);
    if (waiters === undefined) return; // its waiters have given up
    this.pending.delete(id);
    this.restWhenIdle();
    for (const { done } of waiters) done(undefined, Math.max(0, ttl));
  }

  private lost(error: StatusError): void {
    this.drop();
    this.lastError = error;
    if (this.pending.size === 0) {
      this.backoff = FIRST_BACKOFF;
      return; // the next renewal opens the next stream
    }
    const ms = this.backoff * (0.5 + Math.random());
    this.backoff = Math.min(LAST_BACKOFF, this.backoff * 2);
    this.reopen = setTimeout(() => {
      this.reopen = undefined;
      if (this.pending.size > 0) this.open();
    }, ms);
  }

  /** Forgets the stream; nothing it still says counts. */
  private drop(): void {
    this.generation++;
    const stream = this.stream;
    this.stream = undefined;
    stream?.cancel();
  }

  private look(): void {
    const now = Date.now();
    if (now - this.lastAnswer >= RENEWAL_TIMEOUT) this.expire(now);
    this.restWhenIdle();
    if (this.stream !== undefined && this.pending.size > 0 && now - this.lastSign > STALL) {
      this.lost(
        new StatusError(Code.UNAVAILABLE, `shard "${this.shard.name}": the keep-alive stream is silent`),
      );
    }
  }

  private expire(now: number): void {
    const late: Waiter[] = [];
    for (const [lease, waiters] of this.pending) {
      if (waiters[0].deadline > now) continue; // the first of a lease is its earliest
      const rest = waiters.filter((waiter) => waiter.deadline > now);
      late.push(...waiters.slice(0, waiters.length - rest.length));
      if (rest.length > 0) this.pending.set(lease, rest);
      else this.pending.delete(lease);
    }
    if (late.length > 0) this.giveUp(late, now);
  }

  private giveUp(late: readonly Waiter[], now: number): void {
    this.missed += late.length;
    this.unlogged += late.length;
    const cause = this.lastError === undefined ? "" : `: ${this.lastError.message}`;
    if (now - this.lastLog >= LOG_EVERY) {
      const details = { shard: this.shard.name, missed: this.unlogged };
      this.log.warn(details, `lease keep-alives had no answer${cause}`);
      this.lastLog = now;
      this.unlogged = 0;
    }
    const text = `shard "${this.shard.name}": no answer to a lease keep-alive within ${RENEWAL_TIMEOUT} ms${cause}`;
    for (const { done } of late) done(new StatusError(Code.UNAVAILABLE, text), 0);
  }

  private restWhenIdle(): void {
    if (this.pending.size > 0) return;
    clearInterval(this.tick);
    this.tick = undefined;
  }

  private closing(): StatusError {
    return new StatusError(Code.UNAVAILABLE, "etcd-braid: the proxy is shutting down");
  }
}
