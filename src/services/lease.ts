import type { Leases } from "../lease/leases.js";
import { fromAsync } from "../rpc/async.js";
import type { Call, ServerStream, StreamHandler, UnaryHandler } from "../rpc/call.js";
import type { Service } from "../rpc/service.js";
import { isDenied } from "../shard/access.js";
import { StatusError } from "../status/error.js";
import type { Tenants } from "../tenants/tenants.js";
import type { Timeline } from "../timeline/view.js";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "../wire/messages.js";
import { Lease } from "../wire/paths.js";
import type { Identity } from "./identity.js";

/** Most keep-alives in progress on one stream. Above it, the stream is not read until half of them are answered. */
const MAX_IN_PROGRESS = 16_384;
/**
 * The same for one lease. They share a response of the shard, so as many are answered at once. Clients renew a lease again while a
 * shard does not respond, but not as often as this.
 */
const MAX_OF_LEASE = 64;
/** Most keep-alives in progress on all streams together. It applies to streams with more than `FEW_IN_PROGRESS`. */
const MAX_TOTAL_IN_PROGRESS = 131_072;
const FEW_IN_PROGRESS = 16;

export interface LeaseServiceOptions {
  readonly leases: Leases;
  readonly timeline: Pick<Timeline, "head">;
  readonly identity: Pick<Identity, "header">;
  /** Undefined: no tenants. */
  readonly tenants?: Tenants | undefined;
}

/** etcd's Lease service. */
export function createLease(options: LeaseServiceOptions): Service {
  const { leases, timeline, identity, tenants } = options;
  /**
   * The response to a call: the header of the head, then the other fields. As in etcd, LeaseTimeToLive, LeaseLeases and
   * LeaseKeepAlive return what this proxy knows. Only grants and revocations go through the log.
   */
  const answer = (body: Uint8Array) => Buffer.concat([identity.header(timeline.head), body]);

  const grant = async (call: Call, request: Uint8Array) => {
    const { id, ttl } = LeaseGrantRequest.decode(request);
    const tenant = tenants?.ofCaller(call.caller);
    const release = tenant && tenants!.reserveLease(tenant);
    if (release instanceof StatusError) throw release;
    try {
      const { header: _, ...granted } = await leases.grant(id, ttl, call);
      // Another lease may have had this id.
      tenants?.leases.ended(granted.id);
      tenants?.leases.renewed(granted.id, granted.ttl, tenant, tenants.now());
      return answer(LeaseGrantResponse.encode(granted));
    } finally {
      release?.();
    }
  };

  const revoke = async (call: Call, request: Uint8Array) => {
    const { id } = LeaseRevokeRequest.decode(request);
    const revision = await leases.revoke(id, call);
    tenants?.leases.ended(id);
    return identity.header(revision);
  };

  const timeToLive = async (call: Call, request: Uint8Array) => {
    const { id, keys } = LeaseTimeToLiveRequest.decode(request);
    const found = (await leases.look(id, keys, call)) ?? { ttl: -1, grantedTtl: 0, keys: [] };
    const { ttl, grantedTtl } = found;
    return answer(LeaseTimeToLiveResponse.encode({ id, ttl, grantedTtl, keys: [...found.keys] }));
  };

  const list = async (call: Call) => answer(LeaseLeasesResponse.encode({ leases: await leases.list(call) }));

  const all = { inProgress: 0 };
  return {
    unary: new Map<string, UnaryHandler>([
      [Lease.LeaseGrant, fromAsync(grant)],
      [Lease.LeaseRevoke, fromAsync(revoke)],
      [Lease.LeaseTimeToLive, fromAsync(timeToLive)],
      [Lease.LeaseLeases, fromAsync(list)],
    ]),
    stream: new Map<string, StreamHandler>([
      [Lease.LeaseKeepAlive, (stream) => new KeepAliveStream(stream, options, all)],
    ]),
  };
}

/** One client's keep-alive stream. The responses for each lease are in the order of its requests. */
class KeepAliveStream {
  private inProgress = 0;
  /** The same by lease. */
  private readonly ofLease = new Map<bigint, number>();
  /** How many of them are above `MAX_OF_LEASE`. */
  private excess = 0;
  private halfClosed = false;
  private blocked = false;
  private paused = false;
  /** The last keep-alive that failed, unless its lease was answered since. */
  private failure: { readonly id: bigint; readonly error: StatusError } | undefined;
  /** Lease → when it expires if it is not renewed again, in milliseconds of `performance.now`. */
  private readonly renewed = new Map<bigint, number>();

  constructor(
    private readonly stream: ServerStream,
    private readonly options: LeaseServiceOptions,
    /** Counts the keep-alives in progress on all streams. */
    private readonly all: { inProgress: number },
  ) {
    stream.onMessage((message) => this.requested(message));
    stream.onEnd(() => {
      this.halfClosed = true;
      this.settle();
    });
    stream.onDrain(() => {
      this.blocked = false;
      this.regulate();
    });
  }

  private requested(message: Uint8Array): void {
    let id: bigint;
    try {
      id = LeaseKeepAliveRequest.decode(message).id;
    } catch (error) {
      this.stream.end(StatusError.from(error));
      return;
    }
    // Taken before the renewal, because the response must not have a revision at which the lease may have ended.
    const header = this.options.identity.header(this.options.timeline.head);
    this.begins(id);
    this.options.leases.renew(
      id,
      (error, ttl) => {
        this.ends(id);
        if (error !== undefined) this.fail(id, error);
        else this.answer(header, id, ttl);
        this.settle();
        this.regulate();
      },
      this.stream.caller,
    );
    this.regulate();
  }

  private begins(id: bigint): void {
    const count = (this.ofLease.get(id) ?? 0) + 1;
    this.ofLease.set(id, count);
    if (count > MAX_OF_LEASE) this.excess++;
    this.inProgress++;
    this.all.inProgress++;
  }

  private ends(id: bigint): void {
    const count = this.ofLease.get(id)! - 1;
    if (count === 0) this.ofLease.delete(id);
    else this.ofLease.set(id, count);
    if (count >= MAX_OF_LEASE) this.excess--;
    this.inProgress--;
    this.all.inProgress--;
  }

  private answer(header: Uint8Array, id: bigint, ttl: number): void {
    if (this.failure?.id === id) this.failure = undefined;
    this.account(id, ttl);
    if (ttl > 0) this.renewed.set(id, performance.now() + ttl * 1_000);
    else this.renewed.delete(id);
    if (!this.stream.send([header, LeaseKeepAliveResponse.encode({ id, ttl })])) this.blocked = true;
  }

  /** Notes for the lease's tenant how long it lives. */
  private account(id: bigint, ttl: number): void {
    const { tenants } = this.options;
    if (!tenants?.some) return;
    if (ttl <= 0) tenants.leases.ended(id);
    else tenants.leases.renewed(id, ttl, tenants.ofCaller(this.stream.caller), tenants.now());
  }

  private fail(id: bigint, error: StatusError): void {
    // As in etcd, even while other renewals are in progress.
    if (isDenied(error)) this.stream.end(error);
    this.failure = { id, error };
    this.renewed.delete(id);
  }

  /**
   * Ends the stream, if nothing is in progress, when the client has half-closed it, or when a keep-alive has failed and none of
   * the stream's other leases is alive: the client may wait for that one.
   */
  private settle(): void {
    if (this.inProgress > 0) return;
    const isPointless = this.failure !== undefined && !this.hasRenewed();
    if (this.halfClosed || isPointless) this.stream.end(this.failure?.error);
  }

  private hasRenewed(): boolean {
    const now = performance.now();
    for (const [id, end] of this.renewed) {
      if (end > now) return true;
      this.renewed.delete(id);
    }
    return false;
  }

  private regulate(): void {
    const full = this.inProgress > (this.paused ? MAX_IN_PROGRESS / 2 : MAX_IN_PROGRESS);
    const crowded = this.inProgress > FEW_IN_PROGRESS && this.all.inProgress > MAX_TOTAL_IN_PROGRESS;
    const pause = this.blocked || full || crowded || this.excess > 0;
    if (pause === this.paused) return;
    this.paused = pause;
    if (pause) this.stream.pause();
    else this.stream.resume();
  }
}
