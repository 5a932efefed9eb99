import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { Timeline } from "../timeline/view.js";
import type { LeaseGrantResponse } from "../wire/messages.js";
import type { LeaseDeps } from "./deps.js";
import type { Endings } from "./endings.js";
import type { Requester } from "./leaseCalls.js";
import { LeaseIds } from "./leaseIds.js";
import { GRANT_MS, type Preparing } from "./preparing.js";
import { isReserved } from "./reserved.js";

/** How long a grant waits for a home when the lease can have another one, in milliseconds. */
const PATIENCE_MS = 2_000;
/** New leases have no home for this long on a shard that did not respond to a grant, in milliseconds. */
const AVOID_MS = 10_000;
/** Ids to try in order to find one with another home. Far more than the weights of shards require. */
const MAX_IDS = 1_000;

/** Grants leases at their homes. */
export class Granting {
  /** Leases granted, since the start. */
  granted = 0;
  private readonly ids: LeaseIds;
  /** Shard → until when new leases avoid it, by `Runtime.now`. */
  private readonly avoided = new Map<number, number>();

  constructor(
    private readonly deps: LeaseDeps,
    private readonly endings: Endings,
    private readonly preparing: Preparing,
  ) {
    this.ids = new LeaseIds(deps.runtime);
  }

  /** See `Leases.grant`. */
  async grant(id: bigint, ttl: number, requester: Requester): Promise<LeaseGrantResponse> {
    const { timeline, runtime } = this.deps;
    const since = runtime.now();
    // Only an id that the client has chosen can have left parts behind.
    await beginWrite(timeline, requester, id !== 0n);
    if (id === 0n) return this.grantFresh(ttl, requester, since);
    await this.clear(id, requester);
    return this.grantAtHome(id, ttl, requester, since);
  }

  /** Ends what an earlier lease with this id has left. Rejects if the proxies have reserved the id. */
  private async clear(id: bigint, requester: Requester): Promise<void> {
    const { calls, homes, parts } = this.deps;
    const home = homes.of(id);
    if (isReserved(id)) {
      await calls.mayGrant(home, requester);
      throw etcd.leaseExists();
    }
    if (!parts.isPlaced(id) && !this.endings.isEnding(id)) return;
    await calls.mayGrant(home, requester);
    if ((await calls.look(home, id)) === undefined) await this.endings.end(id);
  }

  private async grantFresh(ttl: number, requester: Requester, since: number): Promise<LeaseGrantResponse> {
    const { homes, runtime, timeline } = this.deps;
    for (;;) {
      const id = this.freshId();
      const shards = [homes.of(id), homes.next(id)].filter((shard) => shard !== undefined);
      const hasOthers = this.homesLeft(shards) > 0;
      const patience = Math.min(requester.deadline ?? Number.POSITIVE_INFINITY, runtime.date() + PATIENCE_MS);
      try {
        return await this.grantAtHome(id, ttl, requester, since, hasOthers ? patience : undefined);
      } catch (error) {
        // Another proxy has generated the same id.
        if (etcd.leaseExists.is(error)) continue;
        if (!isUnreachable(error) || !hasOthers || isOver(requester, runtime.date()) || timeline.isHostAway)
          throw error;
        for (const shard of shards) this.avoided.set(shard, runtime.now() + AVOID_MS);
        this.giveUp(homes.of(id), id); // the shard may grant it yet
      }
    }
  }

  /** A new id whose homes are not avoided. Any id if there is no such home. */
  private freshId(): bigint {
    const { homes, runtime } = this.deps;
    let id = this.ids.next();
    if (this.avoided.size === 0) return id;
    for (const [shard, until] of this.avoided) if (until <= runtime.now()) this.avoided.delete(shard);
    if (this.homesLeft([]) === 0) return id;
    const isAvoided = (shard: number | undefined) => shard !== undefined && this.avoided.has(shard);
    for (let n = 0; n < MAX_IDS && (isAvoided(homes.of(id)) || isAvoided(homes.next(id))); n++)
      id = this.ids.next();
    return id;
  }

  /** Number of homes that are neither avoided nor in `shards`. */
  private homesLeft(shards: readonly number[]): number {
    const { homes } = this.deps;
    const left = this.deps.shards
      .entries()
      .filter(([shard]) => homes.hasHomes(shard) && !this.avoided.has(shard) && !shards.includes(shard));
    return left.length;
  }

  /** `since` is when the call began, before the log's end was read. */
  private async grantAtHome(
    id: bigint,
    ttl: number,
    requester: Requester,
    since: number,
    deadline = requester.deadline,
  ): Promise<LeaseGrantResponse> {
    const { calls, homes } = this.deps;
    for (;;) {
      const home = homes.of(id);
      const lease = await calls.grant(home, id, ttl, requester, deadline);
      try {
        if (await this.prepare(id, home, since)) {
          this.granted++;
          return lease;
        }
      } catch (error) {
        this.giveUp(home, id);
        throw error;
      }
      // A plan has ended, and no proxy would find the lease here.
      this.revokeAt(home, id);
      await this.clear(id, requester);
    }
  }

  /**
   * Gives a lease that was granted at `home` what a plan needs. Resolves to false if the lease has another home by now, and has no
   * part there of which this grant knows. Rejects if the lease cannot get its parts.
   */
  private async prepare(id: bigint, home: number, since: number): Promise<boolean> {
    const { homes, parts, runtime, timeline } = this.deps;
    // The mover may have looked for leases before this one was granted. A faster grant it cannot have missed.
    if (runtime.now() - since > GRANT_MS) await timeline.sync();
    if (homes.of(id) !== home) return false;
    try {
      await this.preparing.prepareLease(id);
    } catch (error) {
      // The end of the plan came before the part at the next home.
      if (homes.of(id) === home || !etcd.leaseNotFound.is(error)) throw error;
    }
    if (homes.of(id) === home) return true;
    // Other proxies that knew of the end before the part was granted may be ending the lease, because it lacked its home.
    if (parts.isPlaced(id) || this.endings.isEnding(id)) await this.endings.end(id);
    return false;
  }

  private giveUp(home: number, id: bigint): void {
    if (this.deps.parts.isPlaced(id)) this.endings.endInBackground(id);
    else this.revokeAt(home, id);
  }

  private revokeAt(home: number, id: bigint): void {
    this.deps.calls.revoke(home, id).catch(() => undefined); // it expires
  }
}

const isUnreachable = (error: unknown): boolean =>
  error instanceof StatusError && (error.code === Code.UNAVAILABLE || error.code === Code.DEADLINE_EXCEEDED);

/** True when the client no longer waits. `now` is in milliseconds since the epoch. */
const isOver = ({ cancelled, deadline }: Requester, now: number): boolean =>
  cancelled === true || (deadline !== undefined && now >= deadline);

/** Awaits `Timeline.beginWrite`. Rejects with CANCELLED if the client has gone in the meantime. */
export async function beginWrite(timeline: Timeline, requester: Requester, needsEnd: boolean): Promise<void> {
  await timeline.beginWrite(needsEnd);
  if (requester.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
}
