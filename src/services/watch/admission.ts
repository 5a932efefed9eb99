import type { ServerStream } from "../../rpc/call.js";
import type { ShardSet } from "../../shard/shardSet.js";
import { StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import type { Tenants } from "../../tenants/tenants.js";
import type { Timeline } from "../../timeline/view.js";
import type { Runtime } from "../../turn/runtime.js";
import type { Hub } from "../../watch/hub.js";
import type { WatchCreateRequest, WatchRequest } from "../../wire/messages.js";
import { costOf, type WatchMemory } from "./memory.js";
import { permission, reasonOf } from "./permission.js";
import { describeWatch, rangeOf, type WatchPlan } from "./request.js";

export interface AdmissionDeps {
  /** In configured order. */
  readonly shards: ShardSet;
  readonly timeline: Timeline;
  readonly runtime: Runtime;
  readonly hub: Pick<Hub, "stats">;
  /** Undefined: no tenants. */
  readonly tenants?: Tenants | undefined;
}

/** A watch that may begin. */
export interface Admitted {
  readonly plan: WatchPlan;
  /** Cost that `WatchMemory` has counted, in bytes. */
  readonly cost: number;
  /** Tells the tenants of the watch that it has ended; undefined without tenants. */
  readonly release: (() => void) | undefined;
}

/** How long a watch is held before it is refused for a reason that may pass, in milliseconds. Clients retry at once. */
export const REFUSAL_DELAY_MS = 1_000;
const DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream";
const TOO_MANY_WATCHES = "etcd-braid: too many watches";
const EMPTY_RANGE = "mvcc: watcher range is empty";

/** Decides which watches of one client's stream may begin. */
export class Admission {
  private closed = false;
  /** Ends the pause before a refusal. */
  private endPause: (() => void) | undefined;

  constructor(
    private readonly deps: AdmissionDeps,
    private readonly stream: ServerStream,
    private readonly memory: WatchMemory,
  ) {}

  /** The refusal of each request by the shards, if any. A shard that does not respond is tried a second time. */
  async judge(batch: readonly WatchRequest[]): Promise<(StatusError | undefined)[]> {
    const since = this.deps.runtime.now();
    const refusals = await Promise.all(batch.map((request) => this.judgeOne(request)));
    const rest = REFUSAL_DELAY_MS - (this.deps.runtime.now() - since);
    if (rest <= 0 || !refusals.some(isOutage)) return refusals;
    await this.pause(rest);
    if (this.closed) return refusals;
    return Promise.all(
      batch.map((request, i) => (isOutage(refusals[i]) ? this.judgeOne(request) : refusals[i])),
    );
  }

  private async judgeOne(request: WatchRequest): Promise<StatusError | undefined> {
    if (request.kind !== "create" || request.request.startRevision < 0) return undefined;
    const { shards, timeline } = this.deps;
    return permission(shards, timeline.locator, this.stream, request.request);
  }

  /**
   * Waits, before a watch is refused because of a limit: APISIX and Patroni try again at once. Undefined if it need not wait:
   * then `admit` must follow at once, before others take what the limit leaves. Call it only if the client cannot send more
   * on this stream, because its other requests would have to wait too.
   */
  hold(request: WatchRequest): Promise<void> | undefined {
    if (request.kind !== "create" || !this.isAboveLimit(request.request)) return undefined;
    return this.pause(REFUSAL_DELAY_MS);
  }

  private isAboveLimit(request: WatchCreateRequest): boolean {
    if (!this.memory.hasRoom(costOf(request))) return true;
    return this.deps.tenants?.refusesWatch(rangeOf(request), this.stream.caller) === true;
  }

  /** Counts a watch that may begin. Returns the `cancel_reason` of one that may not. `isUsed`: whether its stream has its id. */
  admit(request: WatchCreateRequest, isUsed: boolean): Admitted | string {
    // As etcd since 3.4.38, 3.5.24 and 3.6.6, before any check of the caller. Older ones take some for revision 1.
    if (request.startRevision < 0) return etcd.compacted.message;
    const plan = describeWatch(request);
    if (plan === undefined) return EMPTY_RANGE;
    if (isUsed) return DUPLICATE_ID;
    const { tenants } = this.deps;
    const release = tenants?.some ? tenants.openWatch(rangeOf(request), this.stream.caller) : undefined;
    if (release instanceof StatusError) {
      return `rpc error: code = ResourceExhausted desc = ${release.message}`;
    }
    const cost = costOf(request);
    if (this.memory.addWatch(cost)) return { plan, cost, release };
    release?.();
    this.deps.hub.stats.refused++;
    return TOO_MANY_WATCHES;
  }

  /** Ends a pause. Call it when the stream ends. */
  close(): void {
    this.closed = true;
    this.endPause?.();
  }

  /** Resolves after `ms`, or when the stream ends. */
  private async pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const stopTimer = this.deps.runtime.timer(ms, resolve);
      this.endPause = () => {
        stopTimer();
        resolve();
      };
    });
  }
}

/** True for a failure of a shard, as opposed to a refusal. */
function isOutage(refusal: StatusError | undefined): boolean {
  return refusal !== undefined && reasonOf(refusal) === undefined;
}
