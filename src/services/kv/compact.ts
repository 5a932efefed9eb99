import type { Call, UnaryHandler } from "../../rpc/call.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { StatusError, withDetail } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { CompactionRequest } from "../../wire/messages.js";
import { KV } from "../../wire/paths.js";
import { answerAsync, askAsync, attempt, callOptions } from "./calls.js";
import type { KvContext } from "./context.js";

/** A compaction that every etcd refuses. */
const IN_THE_FUTURE = CompactionRequest.encode({ revision: 2 ** 63 });

/** How long a physical compaction may take when the client sets no deadline, in milliseconds. In effect no limit. */
const PHYSICAL_TIMEOUT_MS = 24 * 3_600_000;
/** First and longest wait before a failed compaction of a shard is retried, in milliseconds. */
const RETRY_MIN_MS = 1_000;
const RETRY_MAX_MS = 60_000;

/**
 * KV.Compact. The entry in the timeline decides, and the shards follow. A shard that cannot be reached is compacted
 * later. Only a physical compaction fails then, because it promises freed space.
 */
export class Compactor {
  private readonly context: KvContext;
  /** Shard index → the shard revision at which the shard still has to be compacted. */
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
    if (call.caller !== undefined) await Promise.all(shards.all().map((shard) => this.admit(call, shard)));
    await timeline.beginWrite(true);
    if (revision > timeline.head) throw etcd.futureRevision();
    if (revision <= timeline.compactRevision) throw etcd.compacted();
    // Read before the entry is made, because the timeline may forget older revisions after it. A step that is frozen later has
    // its freeze at or above this compaction.
    const kept = timeline.locator.compactionAt(revision);
    const targets = shards.all().map((shard) => ({ shard, at: timeline.lastAt(kept, shard.index) }));
    if (timeline.isSole) {
      await Promise.all(targets.map(({ shard, at }) => this.send(call, shard, at, physical)));
      timeline.compacted(revision);
      return identity.header(timeline.head);
    }
    if (!(await timeline.compact(revision))) throw etcd.compacted();
    const failures = await Promise.all(
      targets.map(({ shard, at }) => this.compactNow(call, shard, at, physical)),
    );
    const failed = failures.find((failure) => failure !== undefined);
    if (physical && failed !== undefined) throw failed;
    return identity.header(timeline.head);
  }

  /** Rejects for a client that a shard would not let compact, before the entry is made. */
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
      await this.send(call, shard, revision, physical);
      return undefined;
    } catch (reason) {
      const error = StatusError.from(reason);
      if (isCompacted(error) || this.hasLeft(shard)) return undefined;
      this.context.log.warn(
        { shard: shard.name, revision, error: withDetail(error) },
        "shard not compacted yet, trying again",
      );
      this.retryLater(shard, revision);
      return named(error, shard);
    }
  }

  private async send(call: Call, shard: Shard, revision: number, physical: boolean): Promise<void> {
    const request = CompactionRequest.encode({ revision, physical });
    // A repeated compaction fails with "compacted", which counts as success.
    const options = callOptions(call, "read", this.context.limits);
    const deadline = physical ? Math.min(call.deadline, Date.now() + PHYSICAL_TIMEOUT_MS) : options.deadline;
    await askAsync(call, shard, KV.Compact, request, { ...options, deadline });
  }

  /** A shard that a plan has removed may leave the store because of the very compaction. */
  private hasLeft(shard: Shard): boolean {
    return this.context.shards.find(shard.index) !== shard;
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
    const revision = this.overdue.get(shard.index);
    if (revision === undefined) return;
    const request = CompactionRequest.encode({ revision, physical: false });
    shard.unary(KV.Compact, request, { idempotent: true }, (error) => {
      const done = error === undefined || isCompacted(error) || this.hasLeft(shard);
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

/** A shard's error with the shard's name. Connection errors have it already. */
function named(error: StatusError, shard: Shard): StatusError {
  const name = describeShard(shard);
  if (error.message.startsWith(name)) return error;
  return new StatusError(error.code, `${name}: ${error.message}`, { cause: error });
}
