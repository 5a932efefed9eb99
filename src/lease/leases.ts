import { mayWrite } from "../auth/permission.js";
import type { Logger } from "../ops/log.js";
import type { Plan } from "../reshard/placement.js";
import type { Router } from "../routing/router.js";
import type { Caller } from "../shard/caller.js";
import type { ShardSet } from "../shard/shardSet.js";
import { etcd } from "../status/etcd.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import type { LeaseGrantResponse } from "../wire/messages.js";
import { CallerStreams } from "./callerStreams.js";
import type { LeaseDeps } from "./deps.js";
import { Endings } from "./endings.js";
import { beginWrite, Granting } from "./granting.js";
import { Homes } from "./homes.js";
import { LeaseCalls, type Part, type Requester } from "./leaseCalls.js";
import { Parts } from "./parts.js";
import { Placing } from "./placing.js";
import { Preparing } from "./preparing.js";
import { Reaper } from "./reaper.js";
import { RenewalEnds } from "./renewalEnds.js";
import type { Renewed } from "./renewalStream.js";
import { Renewing } from "./renewing.js";
import { isReserved, visible } from "./reserved.js";

export interface LeasesOptions {
  readonly shards: ShardSet;
  readonly router: Pick<Router, "homeOf" | "shardOf">;
  /** Must be loaded: its placements list the parts of all leases. */
  readonly timeline: Timeline;
  readonly log: Pick<Logger, "warn">;
  readonly runtime: Runtime;
}

/** Keys that a lease has on one shard. */
export interface KeysOnShard {
  readonly shard: number;
  readonly keys: readonly Uint8Array[];
}

/** Counts for metrics. Totals are of this proxy, since its start. */
export interface LeaseCounts {
  /** Leases granted, in total. */
  readonly granted: number;
  /** Parts granted on shards other than the home, in total. */
  readonly parts: number;
  /** Leases that were ended, or found to have ended, in total. */
  readonly ended: number;
  /** Keep-alives of clients, in total. */
  readonly renewals: number;
  /** Leases that have parts on shards other than their home. */
  readonly placed: number;
  /** Leases that have ended and whose last parts remain to be revoked. */
  readonly ending: number;
  /** Keep-alives to shards without a response in time, in total. */
  readonly missedRenewals: number;
}

/**
 * Leases over all shards. A lease lives on its home shard, and has a part with the same id on every other shard where a
 * key is attached to it. It lives on all of them or on none. All calls reject with `StatusError`.
 */
export class Leases {
  private readonly homes: Homes;
  private readonly timeline: Timeline;
  private readonly router: Pick<Router, "shardOf">;
  private readonly shards: ShardSet;
  private readonly calls: LeaseCalls;
  private readonly parts: Parts;
  private readonly streams: CallerStreams;
  private readonly endings: Endings;
  private readonly placing: Placing;
  private readonly renewing: Renewing;
  private readonly reaper: Reaper;
  private readonly preparing: Preparing;
  private readonly granting: Granting;
  private renewals = 0;

  /** Starts to check placed leases. Call `stop` to end that. */
  constructor(options: LeasesOptions) {
    const { shards, router, timeline, log, runtime } = options;
    const homes = new Homes(timeline, router);
    this.homes = homes;
    this.timeline = timeline;
    this.router = router;
    this.shards = shards;
    this.calls = new LeaseCalls(shards, timeline);
    this.parts = new Parts(() => timeline.placements, homes);
    this.streams = new CallerStreams(shards, log, runtime);
    const { calls, parts } = this;
    const deps: LeaseDeps = { shards, homes, timeline, calls, parts, log, runtime };
    this.endings = new Endings(deps);
    this.placing = new Placing(deps, this.endings);
    const ends = new RenewalEnds(timeline, runtime);
    this.renewing = new Renewing(this.streams, homes, this.parts, this.placing, this.endings, ends);
    this.reaper = new Reaper(deps, this.placing, this.endings);
    this.preparing = new Preparing(deps, this.placing);
    this.granting = new Granting(deps, this.endings, this.preparing);
  }

  /**
   * True if a write under the lease may be sent to the shard at once. Always true for the home, which itself checks that it
   * has the lease.
   */
  isPlaced(lease: bigint, shard: number): boolean {
    return this.placing.isPlaced(lease, shard);
  }

  /**
   * Gives the lease a part on the shard, so that a write under the lease may be sent there. Rejects with etcd's
   * `leaseNotFound`, or with UNAVAILABLE if the home, the shard or the timeline host cannot be reached.
   */
  ensurePlaced(lease: bigint, shard: number): Promise<void> {
    return this.placing.ensurePlaced(lease, shard);
  }

  /**
   * To be called when the shard has refused a write with `leaseNotFound` although the lease was placed there. Resolves if
   * the part had not been granted yet and the write may be sent once more. Rejects with `leaseNotFound` if the lease is
   * dead.
   */
  repair(lease: bigint, shard: number): Promise<void> {
    return this.placing.repair(lease, shard);
  }

  /**
   * Grants a lease of at least `ttl` seconds at its home. If `id` is 0, the proxy chooses one. Parts that an earlier lease
   * with the same id left behind are removed first. Rejects with etcd's `leaseExists` for an id that the proxies have
   * reserved. Unless reads are relaxed, the timeline's head then covers all writes acknowledged before the call. During a plan,
   * the lease also has a part at the home that it gets by the plan.
   */
  grant(id: bigint, ttl: number, requester: Requester = {}): Promise<LeaseGrantResponse> {
    return this.granting.grant(id, ttl, requester);
  }

  /**
   * Ends a lease on all shards. Resolves to the revision of the last deletion (during a plan, that one or a later one), or to the
   * head before the call if the lease has no keys. Rejects with `leaseNotFound` if the home does not have the lease. If the caller
   * may not write all keys of the lease, rejects before anything is revoked.
   */
  async revoke(given: bigint, requester: Requester = {}): Promise<number> {
    const id = visible(given);
    const { timeline, endings } = this;
    // A check of the caller needs all parts. Keys put through another proxy may have added one that is not known here.
    await beginWrite(timeline, requester, requester.caller !== undefined);
    // The head before any deletion. A revision above it is a deletion's; one that is not above it is not.
    const { head } = timeline;
    if (requester.caller === undefined) {
      const { found, revision } = await endings.end(id);
      if (!found) throw etcd.leaseNotFound();
      return Math.max(head, revision);
    }
    for (;;) {
      const home = this.homes.of(id);
      const elsewhere = await this.keysElsewhere(id, home);
      await Promise.all(elsewhere.map(({ shard, keys }) => mayWrite(this.shards.at(shard), requester, keys)));
      // The home checks permission on its own keys. Its part goes first.
      const atHome = await this.calls.revoke(home, id, requester);
      if (atHome === 0 && (await this.hasMoved(id, home))) continue;
      const { revision } = await endings.end(id);
      if (atHome === 0) throw etcd.leaseNotFound();
      return Math.max(head, atHome, revision);
    }
  }

  /** Whether the lease exists. Rejects with UNAVAILABLE if a shard that has a part of it cannot be reached. */
  async exists(id: bigint): Promise<boolean> {
    return (await this.look(id, false)) !== undefined;
  }

  /** Resolves to the lease's keys on shards other than `shard`, by shard. Covers the parts that this proxy knows. */
  keysElsewhere(id: bigint, shard: number): Promise<readonly KeysOnShard[]> {
    return this.keysOn(
      id,
      this.parts.shardsOf(id).filter((other) => other !== shard),
    );
  }

  /** `keysElsewhere` with the keys on `shard`, even if this proxy does not know a part there. */
  keysOf(id: bigint, shard: number): Promise<readonly KeysOnShard[]> {
    return this.keysOn(id, [...new Set([...this.parts.shardsOf(id), shard])]);
  }

  private async keysOn(id: bigint, shards: readonly number[]): Promise<readonly KeysOnShard[]> {
    const parts = await Promise.all(
      shards.map(async (other) => ({
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
   * Resolves to the smallest time left and, if `keys` is set, the keys of all parts in byte order. Resolves to undefined if
   * there is no such lease; then its keys are gone from all shards that can be reached.
   */
  async look(given: bigint, keys: boolean, requester: Requester = {}): Promise<Part | undefined> {
    const id = visible(given);
    if (keys) await this.timeline.sync(); // keys put through another proxy may have added a part
    if (this.endings.isEnding(id)) {
      // A client's permission is checked first.
      if (requester.caller !== undefined) await this.calls.look(this.homes.of(id), id, keys, requester);
      await this.endings.end(id).catch(() => undefined); // the lease is dead anyway, and the reason is logged
      return undefined;
    }
    for (;;) {
      const home = this.homes.of(id);
      const { placementPosition } = this.timeline;
      const found = await this.lookAtParts(id, keys, requester);
      if (found === undefined) {
        if (!(await this.hasMoved(id, home))) return undefined;
        continue;
      }
      if (!keys) return found;
      // Keys that move meanwhile may be missing, or there twice.
      await this.homes.catchUp();
      if (this.timeline.placementPosition === placementPosition) return found;
    }
  }

  private async lookAtParts(id: bigint, keys: boolean, requester: Requester): Promise<Part | undefined> {
    const shards = this.parts.shardsOf(id);
    const parts = await Promise.all(shards.map((shard) => this.calls.look(shard, id, keys, requester)));
    for (const [i, shard] of shards.entries()) {
      if (parts[i] !== undefined) continue;
      const placed = this.parts.isPlaced(id) || this.endings.isEnding(id);
      if (!placed || !(await this.placing.heal(id, shard))) return undefined;
    }
    const home = parts[0];
    if (home === undefined) return undefined;
    const present = parts.filter((part) => part !== undefined);
    const { router } = this;
    // The others are copies of a step that has not moved yet, or what a step has left behind.
    const held = parts.flatMap(
      (part, i) => part?.keys.filter((key) => router.shardOf(key) === shards[i]) ?? [],
    );
    return {
      ttl: Math.min(...present.map((part) => part.ttl)),
      grantedTtl: home.grantedTtl,
      keys: held.sort(Buffer.compare),
    };
  }

  /** Reads the log's end. Resolves to true if the lease has another home than `home`. */
  private async hasMoved(id: bigint, home: number): Promise<boolean> {
    await this.homes.catchUp();
    return this.homes.of(id) !== home;
  }

  /**
   * Resolves to the ids of all leases. Each home lists its leases in etcd's order: the first to expire comes first. The
   * lists of several homes are merged by id, so that the lease granted earlier comes first. Rejects if a shard cannot be
   * reached.
   */
  async list(requester: Requester = {}): Promise<bigint[]> {
    for (;;) {
      const { inForce } = this.timeline.placement;
      const homes = this.shards.entries().filter(([shard]) => this.homes.hasHomes(shard));
      const lists = await Promise.all(
        homes.map(async ([shard]) => {
          const leases = await this.calls.list(shard, requester);
          return leases.filter(
            (lease) => this.homes.of(lease) === shard && !isReserved(lease) && !this.endings.isEnding(lease),
          );
        }),
      );
      // At the end of a plan, leases change their homes.
      if (this.timeline.placement.inForce === inForce) return mergeById(lists);
    }
  }

  /**
   * To be called by the mover before the first step of its run, and again before it ends the plan. Gives every lease that has
   * another home after the plan a part there. Asks all shards but those in `lost`, which leave the store. Rejects with UNAVAILABLE
   * if a shard or the timeline host cannot be reached.
   */
  prepareHomes(plan: Plan, lost: ReadonlySet<number> = new Set()): Promise<void> {
    return this.preparing.prepare(plan, lost);
  }

  counts(): LeaseCounts {
    const { missed: missedRenewals } = this.streams.counts;
    const { renewals, parts, endings, placing } = this;
    return {
      granted: this.granting.granted,
      renewals,
      parts: placing.granted,
      ended: endings.ended,
      placed: parts.size,
      ending: endings.size,
      missedRenewals,
    };
  }

  /** Ends all streams and timers. Calls in flight fail with UNAVAILABLE. */
  stop(): void {
    this.reaper.stop();
    this.endings.stop();
    this.streams.stop();
  }
}

/** Merges lists without changing the order within each. Always takes the lowest of the lists' next ids. */
function mergeById(lists: readonly (readonly bigint[])[]): bigint[] {
  const cursors = lists.map((list) => ({ list, at: 0 }));
  const merged: bigint[] = [];
  for (;;) {
    let lowest: bigint | undefined;
    let from: { at: number } | undefined;
    for (const cursor of cursors) {
      const next = cursor.list[cursor.at];
      if (next === undefined || (lowest !== undefined && next >= lowest)) continue;
      lowest = next;
      from = cursor;
    }
    if (lowest === undefined || from === undefined) return merged;
    merged.push(lowest);
    from.at++;
  }
}
