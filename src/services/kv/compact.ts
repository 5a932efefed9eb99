import type { Call, UnaryHandler } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { StatusError, withDetail } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { CompactionRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { answerAsync, askAsync, attempt, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";

/** A compaction that no etcd carries out. */
const IN_THE_FUTURE = CompactionRequest.encode({ revision: 2 ** 63 });

/** How long a physical compaction may take when the client sets no deadline, ms: as good as no limit. */
const PHYSICAL_MS = 24 * 3_600_000;
/** First and longest wait before a shard that could not be compacted is tried again, ms. */
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;

/**
 * KV.Compact. The entry in the timeline decides; the shards follow. One that cannot be reached is compacted
 * later, and only a physical compaction, which promises freed space, fails for it.
 */
export class Compactor {
  private readonly context: KvContext;
  /** Shard → the shard revision at which it still has to be compacted. */
  private readonly overdue = new Map<number, number>();
  private readonly timers = new Map<number, NodeJS.Timeout>();
  private stopped = false;

  constructor(context: KvContext) {
    this.context = context;
  }

  readonly handler: UnaryHandler = (call, bytes, reply) =>
    attempt(reply, () => {
      const request = CompactionRequest.decode(bytes);
      answerAsync(reply, () => this.compact(call, request));
    });

  /** Ends the retries. */
  stop(): void {
    this.stopped = true;
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  private async compact(call: Call, { revision, physical }: CompactionRequest): Promise<Uint8Array> {
    const { timeline, shards, identity } = this.context;
    if (call.caller !== undefined) await Promise.all(shards.map((shard) => this.admit(call, shard)));
    await timeline.beginWrite(true);
    if (revision > timeline.head) throw etcd.futureRevision();
    if (revision <= timeline.compactRevision) throw etcd.compacted();
    // Looked up before the entry: after it the timeline may forget what lies below.
    const targets = shards.map((_, shard) => timeline.lastAt(revision, shard));
    if (!(await timeline.compact(revision))) throw etcd.compacted();
    const failures = await Promise.all(
      shards.map((shard) => this.compactNow(call, shard, targets[shard.index], physical)),
    );
    const failed = failures.find((failure) => failure !== undefined);
    if (physical && failed !== undefined) throw failed;
    return identity.header(timeline.head);
  }

  /** The entry in the timeline is not to be had by clients whom a shard would refuse. */
  private async admit(call: Call, shard: Shard): Promise<void> {
    try {
      await askAsync(call, shard, KV.Compact, IN_THE_FUTURE, callOptions(call, "read", this.context.limits));
    } catch (reason) {
      if (!etcd.futureRevision.is(reason)) throw reason;
    }
  }

  private async compactNow(
    call: Call,
    shard: Shard,
    revision: number,
    physical: boolean,
  ): Promise<StatusError | undefined> {
    try {
      const request = CompactionRequest.encode({ revision, physical });
      // Repeated, a compaction answers "compacted", which is as good.
      const options = callOptions(call, "read", this.context.limits);
      const deadline = physical ? Math.min(call.deadline, Date.now() + PHYSICAL_MS) : options.deadline;
      await askAsync(call, shard, KV.Compact, request, { ...options, deadline });
      return undefined;
    } catch (reason) {
      const error = StatusError.from(reason);
      if (isCompacted(error)) return undefined;
      this.context.log.warn(
        { shard: shard.name, revision, error: withDetail(error) },
        "shard not compacted yet, trying again",
      );
      this.retryLater(shard, revision);
      return named(error, shard);
    }
  }

  private retryLater(shard: Shard, revision: number): void {
    this.overdue.set(shard.index, Math.max(revision, this.overdue.get(shard.index) ?? 0));
    if (!this.timers.has(shard.index)) this.schedule(shard, RETRY_MIN_MS);
  }

  private schedule(shard: Shard, delay: number): void {
    if (this.stopped) return;
    const jittered = delay * (0.75 + Math.random() / 2);
    const timer = setTimeout(() => this.retry(shard, Math.min(2 * delay, RETRY_MAX_MS)), jittered);
    timer.unref();
    this.timers.set(shard.index, timer);
  }

  private retry(shard: Shard, nextDelay: number): void {
    const revision = this.overdue.get(shard.index) as number;
    const request = CompactionRequest.encode({ revision, physical: false });
    shard.unary(KV.Compact, request, { idempotent: true }, (error) => {
      const done = error === undefined || isCompacted(error);
      const newer = this.overdue.get(shard.index) !== revision;
      if (done && !newer) {
        this.overdue.delete(shard.index);
        this.timers.delete(shard.index);
      } else {
        this.schedule(shard, done ? RETRY_MIN_MS : nextDelay);
      }
    });
  }
}

function isCompacted(error: StatusError): boolean {
  return etcd.compacted.is(error);
}

/** A shard's failure with the shard's name, which connection failures have already. */
function named(error: StatusError, shard: Shard): StatusError {
  const name = describeShard(shard);
  if (error.message.startsWith(name)) return error;
  return new StatusError(error.code, `${name}: ${error.message}`, { cause: error });
}
