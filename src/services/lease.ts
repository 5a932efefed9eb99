import type { Leases } from "../lease/leases.js";
import { fromAsync } from "../rpc/async.js";
import type { Call, ServerStream, StreamHandler, UnaryHandler } from "../rpc/call.js";
import type { Service } from "../rpc/service.js";
import { isDenied } from "../shard/access.js";
import { StatusError } from "../status/error.js";
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

/** A stream with more keep-alives under way than this is not read until half of them are answered. */
const MAX_UNDER_WAY = 16_384;
/** The same of all streams together, for those with more than a few. */
const MAX_UNDER_WAY_TOTAL = 131_072;
const FEW = 16;

export interface LeaseServiceOptions {
  readonly leases: Leases;
  readonly timeline: Pick<Timeline, "head">;
  readonly identity: Pick<Identity, "header">;
}

/** etcd's Lease service. */
export function createLease(options: LeaseServiceOptions): Service {
  const { leases, timeline, identity } = options;
  /**
   * The answer to one call: the header of now, then the other fields. As in etcd, LeaseTimeToLive, LeaseLeases and LeaseKeepAlive
   * are answered with what this proxy knows: only a grant and a revocation go through the log there.
   */
  const answer = (body: Uint8Array) => Buffer.concat([identity.header(timeline.head), body]);

  const grant = async (call: Call, request: Uint8Array) => {
    const { id, ttl } = LeaseGrantRequest.decode(request);
    const { header: _, ...granted } = await leases.grant(id, ttl, call);
    return answer(LeaseGrantResponse.encode(granted));
  };

  const revoke = async (call: Call, request: Uint8Array) => {
    return identity.header(await leases.revoke(LeaseRevokeRequest.decode(request).id, call));
  };

  const timeToLive = async (call: Call, request: Uint8Array) => {
    const { id, keys } = LeaseTimeToLiveRequest.decode(request);
    const found = (await leases.look(id, keys, call)) ?? { ttl: -1, grantedTtl: 0, keys: [] };
    const { ttl, grantedTtl } = found;
    return answer(LeaseTimeToLiveResponse.encode({ id, ttl, grantedTtl, keys: [...found.keys] }));
  };

  const list = async (call: Call) => answer(LeaseLeasesResponse.encode({ leases: await leases.list(call) }));

  const all = { underWay: 0 };
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

/** One client's keep-alive stream. Answers come in the order of the requests for each lease. */
class KeepAliveStream {
  private underWay = 0;
  private halfClosed = false;
  private blocked = false;
  private paused = false;
  /** Why a keep-alive had no answer, the last time. */
  private failure: StatusError | undefined;
  private answeredSince = false;

  constructor(
    private readonly stream: ServerStream,
    private readonly options: LeaseServiceOptions,
    /** Keep-alives under way of all streams. */
    private readonly all: { underWay: number },
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
    // From before the renewal: a revision at which the lease may have ended already must not be in this answer.
    const header = this.options.identity.header(this.options.timeline.head);
    this.underWay++;
    this.all.underWay++;
    this.options.leases.renew(
      id,
      (error, ttl) => {
        this.underWay--;
        this.all.underWay--;
        if (error !== undefined) this.fail(error);
        else this.answer(header, id, ttl);
        this.settle();
        this.regulate();
      },
      this.stream.caller,
    );
    this.regulate();
  }

  private answer(header: Uint8Array, id: bigint, ttl: number): void {
    this.answeredSince = true;
    if (!this.stream.send([header, LeaseKeepAliveResponse.encode({ id, ttl })])) this.blocked = true;
  }

  private fail(error: StatusError): void {
    // As etcd does, whatever other renewals are under way.
    if (isDenied(error)) this.stream.end(error);
    this.failure = error;
    this.answeredSince = false;
  }

  /**
   * Nothing is under way: the stream of a client that sends no more ends. So does one whose last keep-alives
   * had no answer, since its client waits for nothing else; one that is answered for other leases goes on.
   */
  private settle(): void {
    if (this.underWay > 0) return;
    const idle = this.failure !== undefined && !this.answeredSince;
    if (this.halfClosed || idle) this.stream.end(this.failure);
  }

  private regulate(): void {
    const full = this.underWay > (this.paused ? MAX_UNDER_WAY / 2 : MAX_UNDER_WAY);
    const crowded = this.underWay > FEW && this.all.underWay > MAX_UNDER_WAY_TOTAL;
    const pause = this.blocked || full || crowded;
    if (pause === this.paused) return;
    this.paused = pause;
    if (pause) this.stream.pause();
    else this.stream.resume();
  }
}
