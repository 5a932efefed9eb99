import type { Caller } from "../shard/caller.js";
import { renewOnce } from "../shard/renewOnce.js";
import type { CallOptions, Origin, Shard } from "../shard/shard.js";
import type { ShardSet } from "../shard/shardSet.js";
import { etcd } from "../status/etcd.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
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

/** A lease on one shard. */
export interface Part {
  /** Whole seconds left. 0 or less if it has expired and the shard is about to delete it. */
  readonly ttl: number;
  /** The TTL that each renewal restores, in seconds. Above 0. */
  readonly grantedTtl: number;
  readonly keys: readonly Uint8Array[];
}

/** A member lists leases from its own state. If it is cut off from its cluster, the call must fail. */
const NEEDS_LEADER = { hasleader: "true" };

/** The client that a call is made for. */
export interface Requester extends Origin {
  /** Default: the proxy itself. */
  readonly caller?: Caller | undefined;
  /** Milliseconds since the epoch. Default: now plus the shard's request timeout. */
  readonly deadline?: number | undefined;
  /** True once the client no longer waits for the response. */
  readonly cancelled?: boolean;
}

const PROXY: Requester = {};
/** A TTL in seconds that every etcd rejects as too large. */
const TOO_LARGE_TTL = 2 ** 53;

/** Typed lease calls to single shards. All reject with `StatusError`. */
export class LeaseCalls {
  constructor(
    private readonly shards: ShardSet,
    private readonly timeline: Timeline,
  ) {}

  /**
   * Grants a lease with this id for `ttl` seconds. Rejects with etcd's errors for a lease that exists and for a TTL that
   * is too large. `deadline` is in milliseconds since the epoch.
   */
  async grant(
    shard: number,
    id: bigint,
    ttl: number,
    requester = PROXY,
    deadline = requester.deadline,
  ): Promise<LeaseGrantResponse> {
    const request = LeaseGrantRequest.encode({ id, ttl });
    const options = { ...optionsOf(requester), deadline, idempotent: false };
    return LeaseGrantResponse.decode(await this.shard(shard).call(Lease.LeaseGrant, request, options));
  }

  /** Checks with a shard that the client may grant leases. Rejects with the shard's refusal. */
  async mayGrant(shard: number, requester: Requester): Promise<void> {
    if (requester.caller === undefined) return;
    await this.grant(shard, 0n, TOO_LARGE_TTL, requester).catch((error) => {
      if (!etcd.leaseTtlTooLarge.is(error)) throw error;
    });
  }

  /**
   * Revokes a part and seals the deletion of its keys. Resolves to the revision of the shard's newest write after that.
   * If the part had keys, this is their deletion. Resolves to 0 if the shard does not have the part.
   */
  async revoke(shard: number, id: bigint, requester = PROXY): Promise<number> {
    try {
      const request = LeaseRevokeRequest.encode({ id });
      const options = { ...optionsOf(requester), idempotent: false };
      const response = await this.shard(shard).call(Lease.LeaseRevoke, request, options);
      const shardRevision = peekRevision(response);
      await this.timeline.seal(shard, shardRevision, true);
      return this.timeline.toRevision(shard, shardRevision);
    } catch (error) {
      if (etcd.leaseNotFound.is(error)) return 0;
      throw error;
    }
  }

  /** Seals a shard's newest write. Resolves to its revision. */
  async newest(shard: number): Promise<number> {
    const response = await this.shard(shard).call(KV.Range, PROBE, { idempotent: true });
    const shardRevision = peekRevision(response);
    await this.timeline.seal(shard, shardRevision, true);
    return this.timeline.toRevision(shard, shardRevision);
  }

  /** Reads a shard's part of a lease. Resolves to undefined if the shard does not have it. */
  async look(shard: number, id: bigint, keys = false, requester = PROXY): Promise<Part | undefined> {
    const request = LeaseTimeToLiveRequest.encode({ id, keys });
    const options = optionsOf(requester);
    const bytes = await this.shard(shard).call(Lease.LeaseTimeToLive, request, options);
    const response = LeaseTimeToLiveResponse.decode(bytes);
    // A lease that expired over a second ago also has TTL -1 until it is deleted. A missing one has a granted TTL of 0.
    return response.grantedTtl > 0 ? response : undefined;
  }

  /** Renews a part once. Resolves to false if the shard does not have it. Rejects with UNAVAILABLE after three seconds. */
  renew(index: number, id: bigint, runtime: Runtime): Promise<boolean> {
    return renewOnce(this.shard(index), id, runtime);
  }

  /** Lists all leases of a shard, homes and parts, as one member sees them. */
  async list(shard: number, requester = PROXY): Promise<readonly bigint[]> {
    const options = { ...optionsOf(requester), metadata: NEEDS_LEADER };
    const bytes = await this.shard(shard).call(Lease.LeaseLeases, LeaseLeasesRequest.encode({}), options);
    return LeaseLeasesResponse.decode(bytes).leases;
  }

  private shard(index: number): Shard {
    return this.shards.at(index);
  }
}

function optionsOf(requester: Requester): CallOptions {
  const { caller, deadline } = requester;
  return { idempotent: true, caller, deadline, origin: requester === PROXY ? undefined : requester };
}
