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

/** Most reads in a group: an etcd answers it with one of its cores, and all of it at once. */
const MAX_GROUP = 64;
/** Longer requests go alone, bytes. */
const MAX_REQUEST = 1_024;
/** Answers to groups are meant to stay below this, so that small values do not wait for large ones, bytes. */
const ANSWER_BYTES = 128 * 1024;
/** Weight of the newest answer in the average size of an answer. */
const NEWEST = 0.25;

const NO_RESPONSE = new Uint8Array(0);

/**
 * The RangeResponse of a read is what is between `from` and `to` of `response`, which is only valid until this returns; it was read at
 * `shardRevision`, which is sealed.
 */
export type PointReadDone = (
  error: StatusError | undefined,
  response: Uint8Array,
  from: number,
  to: number,
  shardRevision: number,
) => void;

/**
 * Linearizable reads of single keys of one shard, at its newest revision. Those that come in one turn of the event loop, from one
 * caller, go to the shard as one transaction, which costs it and the proxy a fraction of what the reads cost one by
 * one. A group begins after all of its reads have come, and each of them is answered as if it had been alone: a group that
 * a shard refuses is asked again in smaller ones, and in the end one by one.
 */
export class PointReads {
  private waiting: PointRead[] = [];
  /** The read of the log's end for `waiting`: it is sent in the same turn, and so after all of them have begun. */
  private end: LogEnd | undefined;
  /** For the first request that is sent for `waiting`. */
  private carrier: EndCarrier | undefined;
  private readonly shard: Shard;
  /** Most operations that the shard takes in a transaction, as far as is known. */
  private maxOperations = MAX_GROUP;
  /** Average size of an answer, bytes. */
  private answerBytes = 1;

  constructor(
    private readonly index: number,
    private readonly deps: {
      readonly shards: readonly Shard[];
      readonly timeline: Pick<Timeline, "announceRead" | "beginRead" | "carryEnd" | "whenRead">;
      readonly limits: KvLimits;
    },
  ) {
    this.shard = deps.shards[index];
  }

  /** `request` is an encoded RangeRequest for the shard. `done` is called exactly once, also when the client goes away; it never throws. */
  read(call: Call, request: Uint8Array, done: PointReadDone): void {
    if (call.cancelled) {
      done(cancellation(call), NO_RESPONSE, 0, 0, 0);
      return;
    }
    const read = new PointRead(call, request, done);
    // The shard's part of a traced call can be told only when it is asked for that call alone.
    if (request.length > MAX_REQUEST || call.trace !== undefined) {
      this.sendOne(read, this.deps.timeline.beginRead(this.index));
    } else if (this.waiting.push(read) === 1) {
      this.end = this.deps.timeline.beginRead(this.index);
      this.deps.timeline.announceRead(this.index);
      beforeDeparture(this.leave);
    }
  }

  /** Not in the asynchronous context of a call: any call may be the one whose departure this precedes. */
  private readonly leave = AsyncResource.bind((): void => {
    const waiting = this.waiting.filter(({ settled }) => !settled);
    const end = this.end!;
    this.waiting = [];
    this.end = undefined;
    this.carrier = this.deps.timeline.carryEnd(this.index);
    if (waiting.length === 0) {
      this.takeCarrier()?.(undefined);
      return;
    }
    const { caller } = waiting[0].call;
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
    // The limit may change at any time: it is one of those that are read again.
    const { maxTxnOps } = this.deps.limits;
    const most = Math.min(this.maxOperations, maxTxnOps, ANSWER_BYTES / this.answerBytes);
    this.sendGroups(caller, reads, end, most);
  }

  /** Sends them in groups of about the same size, of at most `most`. */
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
      if (to - from === 1) this.sendOne(reads[from], end);
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
    // Others wait for what it carries.
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
    // Each client's own deadline and cancellation end only its own read. Nor is the group cancelled when none of them waits any
    // more: an etcd before 3.4.23 or 3.5.7 may crash when it is (etcd issues 14110 and 14891).
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
    // etcd's own `--max-txn-ops` is below what this proxy is told.
    if (etcd.tooManyOps.is(error)) this.maxOperations = Math.min(this.maxOperations, reads.length >> 1);
    // Most likely one of them is to blame: smaller groups find it with few requests.
    const open = reads.filter(({ settled }) => !settled);
    this.sendGroups(caller, open, end, Math.floor(Math.sqrt(reads.length)));
  }

  /** Answers the reads from `response`. Answers nothing, and returns why, if it does not hold their answers. */
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
    this.answerBytes += NEWEST * (response.length / reads.length - this.answerBytes);
    carrier?.(revision);
    this.deps.timeline.whenRead(this.index, revision, end, (unsealed) => {
      for (let i = 0; i < reads.length; i++) {
        if (unsealed !== undefined) reads[i].fail(unsealed);
        else reads[i].succeed(response, bounds[2 * i], bounds[2 * i + 1], revision);
      }
      release(response);
    });
    return undefined;
  }
}

/** True when it is the shard that fails, whatever it is asked. */
const isOfShard = ({ code }: StatusError): boolean => code === Code.UNAVAILABLE || code === Code.DATA_LOSS;

/** One read that waits for its answer. */
class PointRead {
  settled = false;
  /** Set while the shard is asked for this read alone. */
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
