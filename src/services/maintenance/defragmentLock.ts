import { setTimeout } from "node:timers/promises";
import { DEFRAGMENT_LOCK } from "../../lease/reserved.js";
import type { Call } from "../../rpc/call.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest } from "../../wire/messages.js";
import { Lease } from "../../wire/paths.js";

/** TTL of the lock's lease. Longer than a member takes. After a proxy has died with the lock, others wait as long. */
const TTL_SECONDS = 600;
/** Average pause between two attempts to take the lock, in milliseconds. */
const RETRY_MS = 250;
/** How long the timeline host may take to renew the lock, in milliseconds. */
const RENEW_TIMEOUT_MS = 5_000;

const GRANT = LeaseGrantRequest.encode({ id: DEFRAGMENT_LOCK, ttl: TTL_SECONDS });
const KEEP_ALIVE = LeaseKeepAliveRequest.encode({ id: DEFRAGMENT_LOCK });
const REVOKE = LeaseRevokeRequest.encode({ id: DEFRAGMENT_LOCK });

/** A lock that one request of one proxy can hold: a lease with a fixed id on the timeline host, which takes no revision. */
export class DefragmentLock {
  constructor(private readonly host: Pick<Shard, "call" | "stream">) {}

  /**
   * Waits for the lock until the client cancels. Rejects when the timeline host cannot be reached. A host without space
   * grants no leases, but needs to be defragmented for that reason. So the lock is skipped then.
   */
  async acquire(call: Pick<Call, "cancelled">): Promise<void> {
    while (!call.cancelled) {
      try {
        await this.host.call(Lease.LeaseGrant, GRANT, { idempotent: false });
        return;
      } catch (reason) {
        if (etcd.noSpace.is(reason)) return;
        if (!etcd.leaseExists.is(reason)) throw reason;
      }
      await setTimeout(RETRY_MS * (0.5 + Math.random()));
    }
    throw new StatusError(Code.CANCELLED, "context canceled");
  }

  /** Extends the lock to its full TTL. Never rejects: after a failure, the lock is held for the rest of its time. */
  renew(): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        stream.cancel();
        resolve();
      };
      const timer = globalThis.setTimeout(finish, RENEW_TIMEOUT_MS);
      const stream = this.host.stream(Lease.LeaseKeepAlive, { message: finish, closed: finish });
      stream.send(KEEP_ALIVE);
    });
  }

  async release(): Promise<void> {
    // If this fails, the lease expires.
    await this.host.call(Lease.LeaseRevoke, REVOKE, { idempotent: true }).catch(() => {});
  }
}
