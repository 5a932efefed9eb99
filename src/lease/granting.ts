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

/** Grants leases at their homes. */
export class Granting {
  /** Leases granted, since the start. */
  granted = 0;
  private readonly ids: LeaseIds;

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
    for (;;) {
      try {
        return await this.grantAtHome(this.ids.next(), ttl, requester, since);
      } catch (error) {
        // Another proxy has generated the same id.
        if (!etcd.leaseExists.is(error)) throw error;
      }
    }
  }

  /** `since` is when the call began, before the log's end was read. */
  private async grantAtHome(
    id: bigint,
    ttl: number,
    requester: Requester,
    since: number,
  ): Promise<LeaseGrantResponse> {
    const { calls, homes, runtime, timeline } = this.deps;
    for (;;) {
      const home = homes.of(id);
      const lease = await calls.grant(home, id, ttl, requester);
      try {
        // The mover may have looked for leases before this one was granted. A faster grant it cannot have missed.
        if (runtime.now() - since > GRANT_MS) await timeline.sync();
        if (homes.of(id) === home) {
          await this.preparing.prepareLease(id);
          this.granted++;
          return lease;
        }
      } catch (error) {
        this.giveUp(home, id);
        throw error;
      }
      // A plan has ended, and no proxy would find the lease here.
      this.giveUp(home, id);
    }
  }

  private giveUp(home: number, id: bigint): void {
    if (this.deps.parts.isPlaced(id)) this.endings.endInBackground(id);
    else this.deps.calls.revoke(home, id).catch(() => undefined); // it expires
  }
}

/** Awaits `Timeline.beginWrite`. Rejects with CANCELLED if the client has gone in the meantime. */
export async function beginWrite(timeline: Timeline, requester: Requester, needsEnd: boolean): Promise<void> {
  await timeline.beginWrite(needsEnd);
  if (requester.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
}
