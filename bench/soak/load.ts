import { openShard, type ShardClient } from "../../src/shard/client.js";
import type { ShardStream } from "../../src/shard/shard.js";
import {
  CompactionRequest,
  DeleteRangeRequest,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  PutRequest,
  RangeRequest,
  WatchRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { KV, Lease, Watch } from "../../src/wire/paths.js";
import { peekRevision } from "../../src/wire/rewrite.js";

const GROUPS = 500;
const KEYS_PER_GROUP = 40;
const VALUE_BYTES = 256;
const CONNECTIONS = 4;
const WATCHES = 40;
/** Seconds. A lease is used for one key and then revoked, or left to expire. */
const LEASE_TTL = 5;
/** Interval between compactions, and for how long revisions stay, in milliseconds. */
const COMPACT_EVERY_MS = 20_000;

/** Durations in milliseconds, and counts, since the last `take`. */
export interface Sample {
  readonly puts: readonly number[];
  readonly reads: readonly number[];
  readonly lists: readonly number[];
  readonly events: number;
  readonly watches: number;
  readonly leases: number;
  readonly errors: number;
}

const prefix = (group: number): string => `/soak/g${group}/`;
const endOf = (group: number): string => `/soak/g${group}0`;

/** A mixed load at a fixed rate, open loop: a slow answer does not delay what comes next. */
export class Load {
  private readonly clients: ShardClient[];
  private readonly timers: NodeJS.Timeout[] = [];
  private readonly watches: ShardStream[] = [];
  private puts: number[] = [];
  private reads: number[] = [];
  private lists: number[] = [];
  private counts = { events: 0, watches: 0, leases: 0, errors: 0 };
  /** The last error, for the report. */
  lastError: string | undefined;
  private newest = 0;
  private serial = 0;

  constructor(
    port: number,
    private readonly writes: number,
  ) {
    this.clients = Array.from({ length: CONNECTIONS }, (_, index) =>
      openShard({
        index,
        name: "proxy",
        endpoints: [`127.0.0.1:${port}`],
        requestTimeoutMs: 10_000,
        connectTimeoutMs: 5_000,
        log: { debug() {}, info() {}, warn() {} },
      }),
    );
  }

  start(): void {
    const { writes } = this;
    this.each(1_000 / (writes * 0.9), () => this.put());
    this.each(1_000 / (writes * 0.1), () => this.remove());
    this.each(1_000 / writes, () => this.read());
    this.each(100, () => this.list());
    this.each(200, () => this.lease());
    this.each(250, () => this.rewatch());
    let oldest = 0;
    this.each(COMPACT_EVERY_MS, async () => {
      const [revision, next] = [oldest, this.newest];
      oldest = next;
      if (revision > 0) await this.call(KV.Compact, CompactionRequest.encode({ revision }));
    });
  }

  stop(): void {
    for (const timer of this.timers) clearInterval(timer);
    for (const watch of this.watches) watch.cancel();
    for (const client of this.clients) client.close();
  }

  take(): Sample {
    const { puts, reads, lists, counts } = this;
    [this.puts, this.reads, this.lists] = [[], [], []];
    this.counts = { events: 0, watches: 0, leases: 0, errors: 0 };
    return { puts, reads, lists, ...counts };
  }

  /** Calls `act` every `ms` milliseconds on average, also below the resolution of timers. */
  private each(ms: number, act: () => Promise<unknown>): void {
    let due = performance.now() + ms;
    const tick = () => {
      for (const now = performance.now(); due <= now; due += ms) {
        act().catch((error: Error) => {
          this.counts.errors++;
          this.lastError = error.message;
        });
      }
    };
    this.timers.push(setInterval(tick, Math.max(5, Math.min(ms, 1_000))));
  }

  private async call(path: string, request: Uint8Array): Promise<Uint8Array> {
    const client = this.clients[this.serial++ % CONNECTIONS];
    const answer = await client.call(path, request, { idempotent: false });
    if (path.startsWith("/etcdserverpb.KV/")) this.newest = Math.max(this.newest, peekRevision(answer));
    return answer;
  }

  private async timed(durations: number[], path: string, request: Uint8Array): Promise<void> {
    const begin = performance.now();
    await this.call(path, request);
    durations.push(performance.now() - begin);
  }

  private key(): Buffer {
    const group = Math.floor(Math.random() * GROUPS);
    return Buffer.from(`${prefix(group)}${Math.floor(Math.random() * KEYS_PER_GROUP)}`);
  }

  private put(): Promise<void> {
    const value = Buffer.alloc(VALUE_BYTES, `${this.serial} `);
    return this.timed(this.puts, KV.Put, PutRequest.encode({ key: this.key(), value }));
  }

  private async remove(): Promise<void> {
    await this.call(KV.DeleteRange, DeleteRangeRequest.encode({ key: this.key() }));
  }

  private read(): Promise<void> {
    return this.timed(this.reads, KV.Range, RangeRequest.encode({ key: this.key() }));
  }

  private list(): Promise<void> {
    const group = Math.floor(Math.random() * GROUPS);
    const request = { key: Buffer.from(prefix(group)), rangeEnd: Buffer.from(endOf(group)) };
    return this.timed(this.lists, KV.Range, RangeRequest.encode(request));
  }

  private async lease(): Promise<void> {
    const granted = await this.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl: LEASE_TTL }));
    const { id } = LeaseGrantResponse.decode(granted);
    const key = Buffer.from(`/soak/leased/${this.serial}`);
    await this.call(KV.Put, PutRequest.encode({ key, value: Buffer.from("x"), lease: id }));
    this.counts.leases++;
    if (Math.random() < 0.5) await this.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id }));
  }

  /** Opens a watch of a group, from now or from a moment ago, and ends the oldest one. */
  private async rewatch(): Promise<void> {
    const group = Math.floor(Math.random() * GROUPS);
    const startRevision = Math.random() < 0.5 ? 0 : Math.max(1, this.newest - 500);
    const request = { key: Buffer.from(prefix(group)), rangeEnd: Buffer.from(endOf(group)), startRevision };
    const client = this.clients[this.serial++ % CONNECTIONS];
    const stream = client.stream(Watch.Watch, {
      message: (message) => {
        this.counts.events += WatchResponse.decode(message).events.length;
      },
      closed: (error) => {
        this.counts.errors++;
        this.lastError = error.message;
      },
    });
    stream.send(WatchRequest.encode({ kind: "create", request }));
    this.counts.watches++;
    this.watches.push(stream);
    if (this.watches.length > WATCHES) this.watches.shift()!.cancel();
  }
}
