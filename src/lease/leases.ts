import { mayWrite } from "../auth/permission.js";
import type { Logger } from "../ops/log.js";
import type { Router } from "../routing/router.js";
import type { Caller } from "../shard/caller.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import type { LeaseGrantResponse } from "../wire/messages.js";
import { CallerStreams } from "./callerStreams.js";
import { type For, LeaseCalls, type Part } from "./calls.js";
import { Endings } from "./ending.js";
import { LeaseIds } from "./ids.js";
import { Parts } from "./parts.js";
import { Placing } from "./placing.js";
import { Reaper } from "./reaper.js";
import { Renewing } from "./renewing.js";
import { isReserved, visible } from "./reserved.js";
import type { Renewed } from "./upstream.js";

export interface LeasesOptions {
  readonly shards: readonly Shard[];
  readonly router: Pick<Router, "homeOf">;
  /** Loaded: its placements are where the leases stand. */
  readonly timeline: Timeline;
  readonly log: Pick<Logger, "warn">;
  readonly runtime: Runtime;
}

/** Keys that a lease has on one shard. */
export interface KeysOnShard {
  readonly shard: number;
  readonly keys: readonly Uint8Array[];
}

/** For metrics; what is counted since the start is of this proxy alone. */
export interface LeaseCounts {
  /** Leases granted, parts of leases granted on further shards, and leases that were found or made to have ended. */
  readonly granted: number;
  readonly parts: number;
  readonly ended: number;
  /** Keep-alives asked for by clients. */
  readonly renewals: number;
  /** Leases with parts besides their home. */
  readonly placed: number;
  /** Leases that have ended and whose last parts are still to be revoked. */
  readonly ending: number;
  /** Keep-alives to shards that had no answer in time, since the start. */
  readonly missedRenewals: number;
}

/**
 * Leases over all shards. A lease lives on its home shard, and has a part of the same id on every other shard
 * where a key is attached to it. It lives on all of them or on none. All calls reject with `StatusError`.
 */
export class Leases {
  private readonly homeOf: (lease: bigint) => number;
  private readonly timeline: Timeline;
  private readonly shardCount: number;
  private readonly shards: readonly Shard[];
  private readonly ids: LeaseIds;
  private readonly calls: LeaseCalls;
  private readonly parts: Parts;
  private readonly streams: CallerStreams;
  private readonly endings: Endings;
  private readonly placing: Placing;
  private readonly renewing: Renewing;
  private readonly reaper: Reaper;
  private granted = 0;
  private renewals = 0;

  /** Begins to look after the placed leases at once; `stop` ends it. */
  constructor(options: LeasesOptions) {
    const { shards, router, timeline, log, runtime } = options;
    const names = shards.map((shard) => shard.name);
    const homeOf = (lease: bigint) => router.homeOf(lease);
    this.homeOf = homeOf;
    this.timeline = timeline;
    this.shardCount = shards.length;
    this.shards = shards;
    this.ids = new LeaseIds(runtime);
    this.calls = new LeaseCalls(shards, timeline);
    this.parts = new Parts(() => timeline.placements, homeOf);
    this.streams = new CallerStreams(shards, log, runtime);
    this.endings = new Endings(this.calls, this.parts, timeline, homeOf, log, names, runtime);
    this.placing = new Placing(this.calls, this.parts, this.endings, timeline, homeOf, log, shards.length);
    this.renewing = new Renewing(this.streams, this.parts, this.placing, this.endings);
    this.reaper = new Reaper(
      this.calls,
      this.parts,
      this.placing,
      this.endings,
      timeline,
      log,
      names,
      runtime,
    );
  }

  /**
   * True when a write under the lease may be sent to the shard at once. Always so on the home: it knows itself
   * whether it has the lease.
   */
  isPlaced(lease: bigint, shard: number): boolean {
    return this.placing.isPlaced(lease, shard);
  }

  /**
   * Gives the lease a part on the shard, after which a write under it may be sent there. Rejects with etcd's
   * `leaseNotFound`, or UNAVAILABLE when the home, the shard or the timeline host can not be reached.
   */
  ensurePlaced(lease: bigint, shard: number): Promise<void> {
    return this.placing.ensurePlaced(lease, shard);
  }

  /**
   * For a write that the shard has refused with `leaseNotFound` although the lease was placed there. Resolves
   * when the part had only not been granted yet and the write may be sent once more; rejects with
   * `leaseNotFound` when the lease is dead.
   */
  repair(lease: bigint, shard: number): Promise<void> {
    return this.placing.repair(lease, shard);
  }

  /**
   * Grants a lease of at least `ttl` seconds at its home; `id` 0 lets the proxy choose one. Parts that an
   * earlier lease of the same id has left behind are removed first. An id that the proxies have reserved is taken for ever.
   * Unless reads are relaxed, the timeline's head then covers what was acknowledged before the call.
   */
  async grant(id: bigint, ttl: number, asked: For = {}): Promise<LeaseGrantResponse> {
    // Only an id that the client has chosen can have left parts behind.
    await this.begin(asked, id !== 0n);
    if (id === 0n) return this.grantFresh(ttl, asked);
    const home = this.homeOf(id);
    if (isReserved(id)) {
      await this.calls.mayGrant(home, asked);
      throw etcd.leaseExists();
    }
    const leftOver = this.parts.isPlaced(id) || this.endings.isEnding(id);
    if (leftOver) {
      await this.calls.mayGrant(home, asked);
      if ((await this.calls.look(home, id)) === undefined) await this.endings.end(id);
    }
    const lease = await this.calls.grant(home, id, ttl, asked);
    this.granted++;
    return lease;
  }

  /**
   * Ends a lease everywhere. Resolves to the revision of its deletions, of several shards the last; to the head as it was before
   * when it has no keys. Rejects with `leaseNotFound` when its home does not have it (any more), and before anything
   * is done when there is a caller who may not write all keys of the lease.
   */
  async revoke(given: bigint, asked: For = {}): Promise<number> {
    const id = visible(given);
    const { timeline, endings } = this;
    // With a caller it must be known which parts there are: keys put through another proxy may have made one that is news here.
    await this.begin(asked, asked.caller !== undefined);
    // From before anything is deleted: a deletion is above it, and what is not above it is none.
    const { head } = timeline;
    if (asked.caller === undefined) {
      const { found, revision } = await endings.end(id);
      if (!found) throw etcd.leaseNotFound();
      return Math.max(head, revision);
    }
    const home = this.homeOf(id);
    const elsewhere = await this.keysElsewhere(id, home);
    await Promise.all(elsewhere.map(({ shard, keys }) => mayWrite(this.shards[shard], asked, keys)));
    // The home's own keys are judged by the home, which has the first part to go.
    const atHome = await this.calls.revoke(home, id, asked);
    const { revision } = await endings.end(id);
    if (atHome === 0) throw etcd.leaseNotFound();
    return Math.max(head, atHome, revision);
  }

  /** The lease's keys on shards other than `shard`, by shard, as far as its parts are known here. */
  async keysElsewhere(id: bigint, shard: number): Promise<readonly KeysOnShard[]> {
    const others = this.parts.shardsOf(id).filter((other) => other !== shard);
    const parts = await Promise.all(
      others.map(async (other) => ({
        shard: other,
        keys: (await this.calls.look(other, id, true))?.keys ?? [],
      })),
    );
    return parts.filter(({ keys }) => keys.length > 0);
  }

  /** Renews a lease; see `Renewing.renew`. */
  renew(id: bigint, done: Renewed, caller?: Caller): void {
    this.renewals++;
    this.renewing.renew(visible(id), done, caller);
  }

  /**
   * The smallest time left and, if asked for, the keys of all parts in byte order. Undefined when there is no
   * such lease; then its keys are gone from all shards that can be reached.
   */
  async look(given: bigint, keys: boolean, asked: For = {}): Promise<Part | undefined> {
    const id = visible(given);
    if (keys) await this.timeline.sync(); // keys put through another proxy may have made a part that is news here
    if (this.endings.isEnding(id)) {
      // A client is judged first.
      if (asked.caller !== undefined) await this.calls.look(this.homeOf(id), id, keys, asked);
      await this.endings.end(id).catch(() => undefined); // dead all the same; the reason is logged
      return undefined;
    }
    const shards = this.parts.shardsOf(id);
    const parts = await Promise.all(shards.map((shard) => this.calls.look(shard, id, keys, asked)));
    for (const [i, shard] of shards.entries()) {
      if (parts[i] !== undefined) continue;
      const placed = this.parts.isPlaced(id) || this.endings.isEnding(id);
      if (!placed || !(await this.placing.heal(id, shard))) return undefined;
    }
    const home = parts[0];
    if (home === undefined) return undefined;
    const there = parts.filter((part) => part !== undefined);
    return {
      ttl: Math.min(...there.map((part) => part.ttl)),
      grantedTtl: home.grantedTtl,
      keys: there.flatMap((part) => part.keys).sort(Buffer.compare),
    };
  }

  /**
   * Ids of all leases. As in etcd those that expire first come first, as far as ids tell: each home's are in that
   * order, and between homes the lower id, the one that was granted earlier, comes first. Rejects when a shard can
   * not be reached.
   */
  async list(asked: For = {}): Promise<bigint[]> {
    const shards = Array.from({ length: this.shardCount }, (_, shard) => shard);
    const lists = await Promise.all(
      shards.map(async (shard) => {
        const leases = await this.calls.list(shard, asked);
        return leases.filter(
          (lease) => this.homeOf(lease) === shard && !isReserved(lease) && !this.endings.isEnding(lease),
        );
      }),
    );
    return mergeById(lists);
  }

  counts(): LeaseCounts {
    const { missed: missedRenewals } = this.streams.counts;
    const { granted, renewals, parts, endings, placing } = this;
    return {
      granted,
      renewals,
      parts: placing.granted,
      ended: endings.ended,
      placed: parts.size,
      ending: endings.size,
      missedRenewals,
    };
  }

  /** Ends all streams and timers; what is in flight fails with UNAVAILABLE. */
  stop(): void {
    this.reaper.stop();
    this.endings.stop();
    this.streams.stop();
  }

  /** Before anything is done for a client: `Timeline.beginWrite`, after which the client may have gone. */
  private async begin(asked: For, needsEnd: boolean): Promise<void> {
    await this.timeline.beginWrite(needsEnd);
    if (asked.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
  }

  private async grantFresh(ttl: number, asked: For): Promise<LeaseGrantResponse> {
    for (;;) {
      const id = this.ids.next();
      try {
        const lease = await this.calls.grant(this.homeOf(id), id, ttl, asked);
        this.granted++;
        return lease;
      } catch (error) {
        // Another proxy has drawn the same.
        if (!etcd.leaseExists.is(error)) throw error;
      }
    }
  }
}

/** One list of several that keep their order, always going on with the one whose next id is lowest. */
function mergeById(lists: readonly (readonly bigint[])[]): bigint[] {
  const next = lists.map(() => 0);
  const merged: bigint[] = [];
  const total = lists.reduce((sum, list) => sum + list.length, 0);
  while (merged.length < total) {
    let lowest = -1;
    lists.forEach((list, i) => {
      if (next[i] < list.length && (lowest < 0 || list[next[i]] < lists[lowest][next[lowest]])) lowest = i;
    });
    merged.push(lists[lowest][next[lowest]++]);
  }
  return merged;
}
