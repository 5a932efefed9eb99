import { AsyncResource } from "node:async_hooks";
import type { Call } from "../../rpc/call.js";
import type { Caller } from "../../shard/caller.js";
import type { Origin, Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { EndCarrier, LogEnd, Timeline } from "../../timeline/view.js";
import { release } from "../../turn/buffers.js";
import { beforeDeparture } from "../../turn/departures.js";
import { KV } from "../../wire/paths.js";
import { encodeRangeGroup, findRanges } from "../../wire/rangeGroup.js";
import { peekRevision } from "../../wire/rewrite.js";
import { callOptions, cancellation } from "./calls.js";
import type { KvLimits } from "./limits.js";

/* Indices below are in range by construction; `!` keeps the hot path free of checks. */

/** Most reads in a group. An etcd evaluates a group on one core, and answers all of it at once. */
const MAX_GROUP = 64;
/** Longer requests are sent alone. */
const MAX_REQUEST_BYTES = 1_024;
/** Target size of a group's response, in bytes, so that small values do not wait for large ones. */
const GROUP_RESPONSE_BYTES = 128 * 1024;
/** Weight of the newest response in the average response size. */
const NEWEST_WEIGHT = 0.25;

const NO_RESPONSE = new Uint8Array(0);

/**
 * Gets the RangeResponse of a read: the bytes of `response` between `from` and `to`. They are valid until the function
 * returns. They were read at `shardRevision`, which is sealed.
 */
export type PointReadDone = (
  error: StatusError | undefined,
  response: Uint8Array,
  from: number,
  to: number,
  shardRevision: number,
) => void;

/**
 * Linearizable reads of single keys of one shard, at its newest revision. Reads of one caller that arrive in one turn of
 * the event loop go to the shard as one transaction, which costs the shard and the proxy a fraction of single reads.
 * A group is sent after all its reads have arrived. Each read is answered as if it had been alone: a group that the shard
 * refuses is split into smaller ones, and in the end into single reads.
 */
export class PointReads {
  private waiting: PointRead[] = [];
  /** The read of the log's end for `waiting`. It is sent in the same turn, so after all of them have begun. */
  private end: LogEnd | undefined;
  /** Goes with the first request that is sent for `waiting`. */
  private carrier: EndCarrier | undefined;
  private readonly index: number;
  /** Most operations that the shard is known to accept in a transaction. */
  private maxOperations = MAX_GROUP;
  /** Average size of a response, in bytes. */
  private responseBytes = 1;

  constructor(
    private readonly shard: Shard,
    private readonly deps: {
      readonly timeline: Pick<Timeline, "announceRead" | "beginRead" | "carryEnd" | "whenRead">;
      readonly limits: KvLimits;
    },
  ) {
    this.index = shard.index;
  }

  /**
   * Reads a key. `request` is an encoded RangeRequest for the shard. `done` is called exactly once, also when the client
   * cancels. It must not throw.
   */
  read(call: Call, request: Uint8Array, done: PointReadDone): void {
    if (call.cancelled) {
      done(cancellation(call), NO_RESPONSE, 0, 0, 0);
      return;
    }
    const read = new PointRead(call, request, done);
    // A traced call needs a request to the shard that serves no other call.
    if (request.length > MAX_REQUEST_BYTES || call.trace !== undefined) {
      this.sendOne(read, this.deps.timeline.beginRead(this.index));
    } else if (this.waiting.push(read) === 1) {
      this.end = this.deps.timeline.beginRead(this.index);
      this.deps.timeline.announceRead(this.index);
      beforeDeparture(this.leave);
    }
  }

  /** Bound to no call's asynchronous context, because any call may be the one that triggers the departure. */
  private readonly leave = AsyncResource.bind((): void => {
    const waiting = this.waiting.filter(({ settled }) => !settled);
    const end = this.end!;
    this.waiting = [];
    this.end = undefined;
    this.carrier = this.deps.timeline.carryEnd(this.index);
    const [first] = waiting;
    if (first === undefined) {
      this.takeCarrier()?.(undefined);
      return;
    }
    const { caller } = first.call;
    if (waiting.every(({ call }) => call.caller === caller)) {
      this.send(caller, waiting, end);
      return;
    }
    const callers = new Map<Caller | undefined, PointRead[]>();
    for (const read of waiting) {
      const reads = callers.get(read.call.caller);
      if (reads === undefined) callers.set(read.call.caller, [read]);
      else reads.push(read);
    }
    for (const [each, reads] of callers) this.send(each, reads, end);
  });

  private send(caller: Caller | undefined, reads: readonly PointRead[], end: LogEnd): void {
    // Read each time, because the limit can change while the proxy runs.
    const { maxTxnOps } = this.deps.limits;
    const most = Math.min(this.maxOperations, maxTxnOps, GROUP_RESPONSE_BYTES / this.responseBytes);
    this.sendGroups(caller, reads, end, most);
  }

  /** Sends the reads in groups of about equal size, at most `most` each. */
  private sendGroups(
    caller: Caller | undefined,
    reads: readonly PointRead[],
    end: LogEnd,
    most: number,
  ): void {
    const groups = Math.ceil(reads.length / Math.max(1, most));
    let from = 0;
    for (let group = 1; group <= groups; group++) {
      const to = Math.floor((reads.length * group) / groups);
      if (to - from === 1) this.sendOne(reads[from]!, end);
      else this.sendGroup(caller, reads.slice(from, to), end);
      from = to;
    }
  }

  private sendOne(read: PointRead, end: LogEnd): void {
    const options = callOptions(read.call, "read", this.deps.limits);
    const carrier = this.takeCarrier();
    const cancel = this.shard.unary(KV.Range, read.request, options, (error, response) => {
      const failure = error ?? this.tryAnswer([read], end, response, () => [0, response.length], carrier);
      if (failure === undefined) return;
      carrier?.(undefined);
      read.fail(failure);
    });
    // A request that carries the log's end must not be cancelled: other calls wait for it.
    if (carrier === undefined) read.cancelAtShard = cancel;
  }

  private takeCarrier(): EndCarrier | undefined {
    const { carrier } = this;
    this.carrier = undefined;
    return carrier;
  }

  private sendGroup(caller: Caller | undefined, reads: readonly PointRead[], end: LogEnd): void {
    const origin: Origin = {};
    const request = encodeRangeGroup(reads.map((read) => read.request));
    // A client's deadline or cancellation ends only its own read. The group is not even cancelled when all clients have
    // gone, because etcd before 3.4.23 and 3.5.7 may crash then (etcd issues 14110 and 14891).
    const carrier = this.takeCarrier();
    this.shard.unary(KV.Txn, request, { idempotent: true, origin, caller }, (error, response) => {
      if (origin.slowest !== undefined) for (const read of reads) read.call.slowest ??= origin.slowest;
      const failure = error ?? this.tryAnswer(reads, end, response, findRanges, carrier);
      if (failure === undefined) return;
      carrier?.(undefined);
      this.failed(caller, reads, end, failure);
    });
  }

  private failed(
    caller: Caller | undefined,
    reads: readonly PointRead[],
    end: LogEnd,
    error: StatusError,
  ): void {
    if (isOfShard(error)) {
      for (const read of reads) read.fail(error);
      return;
    }
    // The shard's `--max-txn-ops` is lower than the proxy's limit.
    if (etcd.tooManyOps.is(error)) this.maxOperations = Math.min(this.maxOperations, reads.length >> 1);
    // Most likely one read is the cause. Smaller groups isolate it with few requests.
    const open = reads.filter(({ settled }) => !settled);
    this.sendGroups(caller, open, end, Math.floor(Math.sqrt(reads.length)));
  }

  /** Answers the reads from `response`. Returns the reason, and answers none, where it does not contain all of them. */
  private tryAnswer(
    reads: readonly PointRead[],
    end: LogEnd,
    response: Uint8Array,
    find: (response: Uint8Array) => readonly number[],
    carrier: EndCarrier | undefined,
  ): StatusError | undefined {
    let bounds: readonly number[];
    let revision: number;
    try {
      bounds = find(response);
      revision = peekRevision(response);
    } catch (reason) {
      return StatusError.from(reason);
    }
    if (bounds.length !== 2 * reads.length) {
      return new StatusError(Code.INTERNAL, `etcd-braid: shard ${this.shard.name}: reads without answers`);
    }
    this.responseBytes += NEWEST_WEIGHT * (response.length / reads.length - this.responseBytes);
    carrier?.(revision);
    this.deps.timeline.whenRead(this.index, revision, end, (unsealed) => {
      for (let i = 0; i < reads.length; i++) {
        const read = reads[i]!;
        if (unsealed !== undefined) read.fail(unsealed);
        else read.succeed(response, bounds[2 * i]!, bounds[2 * i + 1]!, revision);
      }
      release(response);
    });
    return undefined;
  }
}

/** True for a failure of the shard itself, which any request would meet. */
const isOfShard = ({ code }: StatusError): boolean => code === Code.UNAVAILABLE || code === Code.DATA_LOSS;

/** One read that waits for its response. */
class PointRead {
  settled = false;
  /** Set while a request to the shard serves this read alone. */
  cancelAtShard: (() => void) | undefined = undefined;
  private readonly ignoreCancel: () => void;

  constructor(
    readonly call: Call,
    readonly request: Uint8Array,
    private readonly done: PointReadDone,
  ) {
    this.ignoreCancel = call.onCancel(() => {
      if (this.settled) return;
      this.settled = true;
      this.cancelAtShard?.();
      done(cancellation(call), NO_RESPONSE, 0, 0, 0);
    });
  }

  succeed(response: Uint8Array, from: number, to: number, shardRevision: number): void {
    if (this.settle()) this.done(undefined, response, from, to, shardRevision);
  }

  fail(error: StatusError): void {
    if (this.settle()) this.done(error, NO_RESPONSE, 0, 0, 0);
  }

  private settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    this.ignoreCancel();
    return true;
  }
}
