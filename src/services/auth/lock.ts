import { setTimeout } from "node:timers/promises";
import { ADMIN_LOCK } from "../../lease/reserved.js";
import type { Call } from "../../rpc/call.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { LeaseGrantRequest, LeaseRevokeRequest } from "../../wire/messages.js";
import { Lease } from "../../wire/paths.js";

/** How long the lock outlives a proxy that dies with it, seconds. */
const TTL = 30;
/** Whoever has the lock is done before it can be lost, ms. */
const HELD = 25_000;
/** Pause between two tries, ms. */
const RETRY = 100;

const GRANT = LeaseGrantRequest.encode({ id: ADMIN_LOCK, ttl: TTL });
const REVOKE = LeaseRevokeRequest.encode({ id: ADMIN_LOCK });

/**
 * One change of users and roles at a time, over all proxies: shards that take changes in different orders would not
 * stay the same. The lock is a lease with a fixed id, which only one can be granted; unlike a key it takes no revision.
 */
export class AdminLock {
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly host: Shard) {}

  /**
   * Runs `change` alone, in the order of the calls; it has to be done by `deadline` (milliseconds since the epoch). Nothing
   * is done, and nobody waits for the lock, when `admitted` rejects.
   */
  run<T>(
    call: Pick<Call, "deadline" | "cancelled">,
    change: (deadline: number) => Promise<T>,
    admitted: Promise<void> = Promise.resolve(),
  ): Promise<T> {
    admitted.catch(() => {}); // it may reject long before its turn
    const turn = this.last.then(async () => {
      await admitted;
      await this.acquire(call);
      try {
        return await change(Date.now() + HELD);
      } finally {
        await this.release();
      }
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  private async acquire(call: Pick<Call, "deadline" | "cancelled">): Promise<void> {
    const giveUp = Math.min(call.deadline, Date.now() + 2 * TTL * 1_000);
    for (;;) {
      if (call.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
      try {
        await this.host.call(Lease.LeaseGrant, GRANT, { idempotent: false });
        return;
      } catch (reason) {
        if (!etcd.leaseExists.is(reason)) throw reason;
      }
      if (Date.now() > giveUp) {
        throw new StatusError(
          Code.UNAVAILABLE,
          "etcd-braid: somebody else is changing users and roles, or died doing so; try again in half a minute",
        );
      }
      await setTimeout(RETRY * (0.5 + Math.random()));
    }
  }

  private async release(): Promise<void> {
    // Left alone it ends by itself.
    await this.host.call(Lease.LeaseRevoke, REVOKE, { idempotent: true }).catch(() => {});
  }
}

/** Runs `change` while no proxy changes users and roles. */
export function withAdminLock<T>(host: Shard, change: () => Promise<T>): Promise<T> {
  return new AdminLock(host).run({ deadline: Number.POSITIVE_INFINITY, cancelled: false }, change);
}
