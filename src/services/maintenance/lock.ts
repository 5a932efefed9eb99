import { setTimeout } from "node:timers/promises";
import { DEFRAGMENT_LOCK } from "../../lease/reserved.js";
import type { Call } from "../../rpc/call.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest } from "../../wire/messages.js";
import { Lease } from "../../wire/paths.js";

/** Longer than a member takes, seconds; also how long others wait for a proxy that died with the lock. */
const TTL = 600;
/** Pause between two tries, ms. */
const RETRY = 250;
/** How long the timeline host may take to renew the lock, ms. */
const RENEWAL = 5_000;

const GRANT = LeaseGrantRequest.encode({ id: DEFRAGMENT_LOCK, ttl: TTL });
const KEEP_ALIVE = LeaseKeepAliveRequest.encode({ id: DEFRAGMENT_LOCK });
const REVOKE = LeaseRevokeRequest.encode({ id: DEFRAGMENT_LOCK });

/** Held by one request of one proxy at a time: a lease with a fixed id on the timeline host, which takes no revision. */
export class DefragmentLock {
  constructor(private readonly host: Pick<Shard, "call" | "stream">) {}

  /**
   * Waits for as long as the client does. Rejects when the timeline host can not be reached. A host without space grants
   * no leases, but is to be defragmented for that very reason: then the lock is done without.
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
      await setTimeout(RETRY * (0.5 + Math.random()));
    }
    throw new StatusError(Code.CANCELLED, "context canceled");
  }

  /** Gives the holder the whole time again. Does not fail: the lock is then held for what is left of it. */
  renew(): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        stream.cancel();
        resolve();
      };
      const timer = globalThis.setTimeout(finish, RENEWAL);
      const stream = this.host.stream(Lease.LeaseKeepAlive, { message: finish, closed: finish });
      stream.send(KEEP_ALIVE);
    });
  }

  async release(): Promise<void> {
    // Left alone it ends by itself.
    await this.host.call(Lease.LeaseRevoke, REVOKE, { idempotent: true }).catch(() => {});
  }
}
