import { setTimeout } from "node:timers/promises";
import { ADMIN_LOCK } from "../../lease/reserved.js";
import type { Call } from "../../rpc/call.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { LeaseGrantRequest, LeaseRevokeRequest } from "../../wire/messages.js";
import { Lease } from "../../wire/paths.js";

/** TTL of the lock's lease. The lock outlives a proxy that dies with it by this time. */
const TTL_SECONDS = 30;
/** A change has to be done within this time, in milliseconds. Below the TTL, so the lock is not lost before. */
const CHANGE_TIMEOUT_MS = 25_000;
/** Average pause between two attempts to take the lock, in milliseconds. */
const RETRY_MS = 100;

const GRANT = LeaseGrantRequest.encode({ id: ADMIN_LOCK, ttl: TTL_SECONDS });
const REVOKE = LeaseRevokeRequest.encode({ id: ADMIN_LOCK });

/**
 * Allows one change of users and roles at a time, over all proxies. Shards that apply changes in different orders would
 * diverge. The lock is a lease with a fixed id on the timeline host, which can be granted only once. Unlike a key, it
 * takes no revision.
 */
export class AdminLock {
  private last: Promise<unknown> = Promise.resolve();

  constructor(private readonly host: Shard) {}

  /**
   * Runs `change` while no other change runs, in the order of the calls. It has to be done by `deadline`, in milliseconds
   * since the epoch. When `admitted` rejects, nothing is done, and the lock is not taken. Rejects with UNAVAILABLE when
   * the lock is not free in time.
   */
  run<T>(
    call: Pick<Call, "deadline" | "cancelled">,
    change: (deadline: number) => Promise<T>,
    admitted: Promise<void> = Promise.resolve(),
  ): Promise<T> {
    // It may reject long before its turn.
    admitted.catch(() => {});
    const turn = this.last.then(async () => {
      await admitted;
      await this.acquire(call);
      try {
        return await change(Date.now() + CHANGE_TIMEOUT_MS);
      } finally {
        await this.release();
      }
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  private async acquire(call: Pick<Call, "deadline" | "cancelled">): Promise<void> {
    const giveUp = Math.min(call.deadline, Date.now() + 2 * TTL_SECONDS * 1_000);
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
          "etcd-braid: another proxy is changing users and roles, or died while it did; try again in half a minute",
        );
      }
      await setTimeout(RETRY_MS * (0.5 + Math.random()));
    }
  }

  private async release(): Promise<void> {
    // If this fails, the lease expires.
    await this.host.call(Lease.LeaseRevoke, REVOKE, { idempotent: true }).catch(() => {});
  }
}

/** Runs `change` while no proxy changes users and roles. */
export function withAdminLock<T>(host: Shard, change: () => Promise<T>): Promise<T> {
  return new AdminLock(host).run({ deadline: Number.POSITIVE_INFINITY, cancelled: false }, change);
}
