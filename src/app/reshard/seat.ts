import { seatLease } from "../../lease/reserved.js";
import { CONTROL_KEY, encodeSeat, PROGRESS_KEY, SEAT_KEY, SEAT_TTL_SECONDS } from "../../reshard/record.js";
import type { Shard } from "../../shard/shard.js";
import type { Runtime } from "../../turn/runtime.js";
import {
  CompareResult,
  CompareTarget,
  type Init,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseRevokeRequest,
  RangeRequest,
  RangeResponse,
  type RequestOp,
  TxnRequest,
  TxnResponse,
} from "../../wire/messages.js";
import { KV, Lease } from "../../wire/paths.js";

export interface SeatOptions {
  /** The timeline host, with the proxy's own credentials. */
  readonly host: Pick<Shard, "call" | "stream">;
  /** Names this proxy; `Seat.proxy` in reshard/record.ts. */
  readonly proxy: string;
  readonly runtime: Pick<Runtime, "now" | "date" | "timer" | "interval" | "random">;
}

/** The values of two keys on the timeline host; undefined where there is none. */
export interface Records {
  readonly control: Uint8Array | undefined;
  readonly progress: Uint8Array | undefined;
}

/** Three renewals fit into the TTL, so that one may get lost. */
const RENEW_MS = (SEAT_TTL_SECONDS * 1_000) / 3;
/** How long `leave` waits for the timeline host. Without it the lease ends by itself. */
const LEAVE_MS = 2_000;

/**
 * The place of the proxy that moves keys: a key on the timeline host, under a lease that its holder renews. It keeps proxies
 * from overtaking each other all the time. Safety does not depend on it, because claims and gen guard every step.
 */
export class Seat {
  /** Called once, if the lease has ended, or may have. Not called after `leave`. */
  onLost = () => {};
  private isOver = false;
  private stopRenewing = () => {};
  private stopWaiting = () => {};
  private closeStream = () => {};

  private constructor(
    private readonly options: SeatOptions,
    private readonly lease: bigint,
  ) {}

  /**
   * Takes the seat if it is free; resolves to undefined if not. Also resolves to the records of that moment. Rejects with
   * `StatusError` if the host does not answer; then a lease of a few seconds may be left.
   */
  static async take(options: SeatOptions): Promise<{ seat: Seat; records: Records } | undefined> {
    const { host, proxy, runtime } = options;
    const read = await host.call(KV.Range, RangeRequest.encode({ key: SEAT_KEY }), { idempotent: true });
    if (RangeResponse.decode(read).kvs.length > 0) return undefined;
    const lease = seatLease(runtime.random());
    const since = runtime.now();
    const request = LeaseGrantRequest.encode({ id: lease, ttl: SEAT_TTL_SECONDS });
    const granted = await host.call(Lease.LeaseGrant, request, { idempotent: false });
    const seat = new Seat(options, lease);
    try {
      const isFree = {
        target: CompareTarget.CREATE,
        result: CompareResult.EQUAL,
        key: SEAT_KEY,
        createRevision: 0,
      };
      const put = { kind: "put", request: { key: SEAT_KEY, value: encodeSeat({ proxy }), lease } } as const;
      const ops = [put, rangeOf(CONTROL_KEY), rangeOf(PROGRESS_KEY)];
      const { succeeded, responses } = await transact(host, { compare: [isFree], success: ops });
      if (succeeded) {
        seat.renewFrom(since, LeaseGrantResponse.decode(granted).ttl);
        return { seat, records: { control: valueIn(responses[1]), progress: valueIn(responses[2]) } };
      }
    } catch (error) {
      await seat.leave();
      throw error;
    }
    await seat.leave();
    return undefined;
  }

  /** True once the seat was lost or left. */
  get isLost(): boolean {
    return this.isOver;
  }

  /**
   * Writes the progress record, if there is one to write and the seat is still held, and reads `CONTROL_KEY`. Rejects with
   * `StatusError` if the host does not answer.
   */
  async exchange(progress: Uint8Array | undefined): Promise<Pick<Records, "control">> {
    const { host } = this.options;
    const isHeld = {
      target: CompareTarget.LEASE,
      result: CompareResult.EQUAL,
      key: SEAT_KEY,
      lease: this.lease,
    };
    const success = [rangeOf(CONTROL_KEY)];
    if (progress !== undefined)
      success.push({ kind: "put", request: { key: PROGRESS_KEY, value: progress } });
    const { succeeded, responses } = await transact(host, {
      compare: [isHeld],
      success,
      failure: [rangeOf(CONTROL_KEY)],
    });
    if (!succeeded) this.lose();
    return { control: valueIn(responses[0]) };
  }

  /** Frees the seat. Never rejects. */
  async leave(): Promise<void> {
    this.end();
    const { host, runtime } = this.options;
    const request = LeaseRevokeRequest.encode({ id: this.lease });
    const options = { idempotent: true, deadline: runtime.date() + LEAVE_MS };
    await host.call(Lease.LeaseRevoke, request, options).catch(() => {});
  }

  private renewFrom(since: number, ttl: number): void {
    this.extend(since, ttl);
    this.stopRenewing = this.options.runtime.interval(RENEW_MS, () => this.renew(), true);
  }

  /** Renews the lease over a new stream, so that each attempt can reach another endpoint. */
  private renew(): void {
    const { host, runtime } = this.options;
    this.closeStream();
    const since = runtime.now();
    const stream = host.stream(Lease.LeaseKeepAlive, {
      message: (message) => {
        stream.cancel();
        const { ttl } = LeaseKeepAliveResponse.decode(message);
        if (ttl > 0) this.extend(since, ttl);
        else this.lose();
      },
      closed: () => {},
    });
    this.closeStream = () => stream.cancel();
    stream.send(LeaseKeepAliveRequest.encode({ id: this.lease }));
  }

  /** Counts the seat as held until `ttl` seconds after `since`, a time of `Runtime.now`. */
  private extend(since: number, ttl: number): void {
    if (this.isOver) return;
    const { runtime } = this.options;
    this.stopWaiting();
    this.stopWaiting = runtime.timer(since + ttl * 1_000 - runtime.now(), () => this.lose(), true);
  }

  private lose(): void {
    if (this.isOver) return;
    this.end();
    this.onLost();
  }

  private end(): void {
    this.isOver = true;
    this.stopRenewing();
    this.stopWaiting();
    this.closeStream();
  }
}

const rangeOf = (key: Uint8Array): Init<RequestOp> => ({ kind: "range", request: { key } });

const valueIn = (response: TxnResponse["responses"][number] | undefined): Uint8Array | undefined =>
  response?.kind === "range" ? response.response.kvs[0]?.value : undefined;

const transact = async (host: SeatOptions["host"], txn: Init<TxnRequest>): Promise<TxnResponse> =>
  TxnResponse.decode(await host.call(KV.Txn, TxnRequest.encode(txn), { idempotent: false }));
