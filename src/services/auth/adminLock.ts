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

  constructor(
    /** Returns the timeline host of the moment. */
    private readonly currentHost: () => Shard,
    /** Reads the log's end. Resolves when this process has followed the log there, to another host too. */
    private readonly follow: () => Promise<void>,
  ) {}

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
      const host = await this.acquire(call);
      try {
        return await change(Date.now() + CHANGE_TIMEOUT_MS);
      } finally {
        await release(host);
      }
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  /** Resolves to the host on which the lock is. */
  private async acquire(call: Pick<Call, "deadline" | "cancelled">): Promise<Shard> {
    const giveUp = Math.min(call.deadline, Date.now() + 2 * TTL_SECONDS * 1_000);
    for (;;) {
      if (call.cancelled) throw new StatusError(Code.CANCELLED, "context canceled");
      const host = this.currentHost();
      if ((await this.grant(host)) && (await this.isStill(host))) return host;
      if (Date.now() > giveUp) {
        throw new StatusError(
          Code.UNAVAILABLE,
          "etcd-braid: another proxy is changing users and roles, or died while it did; try again in half a minute",
        );
      }
      await setTimeout(RETRY_MS * (0.5 + Math.random()));
    }
  }

  /** Resolves to false if the lock is taken, or if the log has left the host meanwhile. */
  private async grant(host: Shard): Promise<boolean> {
    try {
      await host.call(Lease.LeaseGrant, GRANT, { idempotent: false });
      return true;
    } catch (reason) {
      if (etcd.leaseExists.is(reason) || this.currentHost() !== host) return false;
      throw reason;
    }
  }

  /**
   * Whether the log is still on `host`, on which this process has the lock. Otherwise the lock there excludes nobody, and it is
   * released. The log does not leave a host while somebody has the lock.
   */
  private async isStill(host: Shard): Promise<boolean> {
    let isStill = false;
    try {
      await this.follow();
      isStill = this.currentHost() === host;
    } finally {
      if (!isStill) await release(host);
    }
    return isStill;
  }
}

async function release(host: Shard): Promise<void> {
  // If this fails, the lease expires.
  await host.call(Lease.LeaseRevoke, REVOKE, { idempotent: true }).catch(() => {});
}

/** Runs `change` while no proxy changes users and roles. `change` has to check that the timeline is still on `host`. */
export function withAdminLock<T>(host: Shard, change: () => Promise<T>): Promise<T> {
  const lock = new AdminLock(
    () => host,
    async () => {},
  );
  return lock.run({ deadline: Number.POSITIVE_INFINITY, cancelled: false }, change);
}
