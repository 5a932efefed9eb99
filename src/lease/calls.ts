import type { Caller } from "../shard/caller.js";
import type { CallOptions, Origin, Shard } from "../shard/shard.js";
import { etcd } from "../status/etcd.js";
import type { Timeline } from "../timeline/view.js";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "../wire/messages.js";
import { KV, Lease } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import { peekRevision } from "../wire/rewrite.js";

/** What one shard knows of a lease. */
export interface Part {
  /** Whole seconds left; 0 or below when it has expired and the shard is about to delete it. */
  readonly ttl: number;
  /** The TTL that a renewal gives it, seconds; above 0. */
  readonly grantedTtl: number;
  readonly keys: readonly Uint8Array[];
}

/** Lists of leases come from the member that is asked, which may be cut off from its cluster: then it must say so. */
const NEEDS_LEADER = { hasleader: "true" };

/** Whom a call is made for, and by when (milliseconds since the epoch). The proxy itself, and in its own time, if neither is given. */
export interface For extends Origin {
  readonly caller?: Caller | undefined;
  readonly deadline?: number | undefined;
  /** True once the client waits for no answer any more. */
  readonly cancelled?: boolean;
}

const ITSELF: For = {};
/** Seconds that no etcd grants a lease for. */
const TOO_LONG = 2 ** 53;

/** The lease calls to single shards, typed. All reject with `StatusError`. */
export class LeaseCalls {
  constructor(
    private readonly shards: readonly Shard[],
    private readonly timeline: Timeline,
  ) {}

  /** Grants a lease under a given id. Rejects with etcd's own errors: exists, TTL too large. */
  async grant(shard: number, id: bigint, ttl: number, asked = ITSELF): Promise<LeaseGrantResponse> {
    const request = LeaseGrantRequest.encode({ id, ttl });
    const options = { ...optionsOf(asked), idempotent: false };
    return LeaseGrantResponse.decode(await this.shards[shard].call(Lease.LeaseGrant, request, options));
  }

  /** Has a shard judge whether the client may grant leases; rejects with its refusal. */
  async mayGrant(shard: number, asked: For): Promise<void> {
    if (asked.caller === undefined) return;
    await this.grant(shard, 0n, TOO_LONG, asked).catch((error) => {
      if (!etcd.leaseTtlTooLarge.is(error)) throw error;
    });
  }

  /**
   * Revokes a part and seals the deletion of its keys. Resolves to the revision of the shard's newest write then, which is the
   * deletion if there were keys; 0 when the shard does not have the part.
   */
  async revoke(shard: number, id: bigint, asked = ITSELF): Promise<number> {
    try {
      const request = LeaseRevokeRequest.encode({ id });
      const options = { ...optionsOf(asked), idempotent: false };
      const response = await this.shards[shard].call(Lease.LeaseRevoke, request, options);
      const shardRevision = peekRevision(response);
      await this.timeline.seal(shard, shardRevision, true);
      return this.timeline.toRevision(shard, shardRevision);
    } catch (error) {
      if (etcd.leaseNotFound.is(error)) return 0;
      throw error;
    }
  }

  /** The revision of a shard's newest write, which is sealed then. */
  async newest(shard: number): Promise<number> {
    const response = await this.shards[shard].call(KV.Range, PROBE, { idempotent: true });
    const shardRevision = peekRevision(response);
    await this.timeline.seal(shard, shardRevision, true);
    return this.timeline.toRevision(shard, shardRevision);
  }

  /** What a shard knows of a lease; undefined when it has none of that id. */
  async look(shard: number, id: bigint, keys = false, asked = ITSELF): Promise<Part | undefined> {
    const request = LeaseTimeToLiveRequest.encode({ id, keys });
    const options = optionsOf(asked);
    const bytes = await this.shards[shard].call(Lease.LeaseTimeToLive, request, options);
    const response = LeaseTimeToLiveResponse.decode(bytes);
    // A lease that expired over a second ago has TTL -1 too until it is deleted: only the granted TTL tells.
    return response.grantedTtl > 0 ? response : undefined;
  }

  /** All leases of a shard, parts and homes alike, as one member sees it. */
  async list(shard: number, asked = ITSELF): Promise<readonly bigint[]> {
    const options = { ...optionsOf(asked), metadata: NEEDS_LEADER };
    const bytes = await this.shards[shard].call(Lease.LeaseLeases, LeaseLeasesRequest.encode({}), options);
    return LeaseLeasesResponse.decode(bytes).leases;
  }
}

function optionsOf(asked: For): CallOptions {
  const { caller, deadline } = asked;
  return { idempotent: true, caller, deadline, origin: asked === ITSELF ? undefined : asked };
}
