import type { TenantConfig } from "../config/tenants.js";
import type { Caller } from "../shard/caller.js";
import { Bucket } from "./bucket.js";
import { noUsage, type Usage } from "./usage.js";

/** Limits on rates, each with a bucket. */
const RATES = ["puts", "ranges", "transactions", "bytesIn", "bytesOut"] as const;
type Rate = (typeof RATES)[number];
/** All limits, by the names of the settings. */
export const LIMITS = [
  "putsPerSecond",
  "rangesPerSecond",
  "transactionsPerSecond",
  "bytesInPerSecond",
  "bytesOutPerSecond",
  "watches",
  "leases",
  "maxValueBytes",
  "storedKeys",
  "storedBytes",
] as const;
export type Limit = (typeof LIMITS)[number];
/** Limits that hold for the store as a whole, or for one request: they are not divided between processes. */
export const UNDIVIDED: ReadonlySet<Limit> = new Set(["maxValueBytes", "storedKeys", "storedBytes"]);

/** A limit that a request would exceed. */
export interface Excess {
  readonly tenant: Tenant;
  readonly limit: Limit;
  /** How long to wait before the request could pass, in milliseconds; undefined where waiting alone does not help. */
  readonly waitMs?: number;
}

/** What one request uses of one tenant. Requests may share one. */
export interface Claim {
  readonly tenant: Tenant;
  readonly usage: Usage;
  /** True for the tenant of the caller itself, who may know everything about it. */
  readonly isOwn: boolean;
  /** The limit that the request exceeds in the mode `observe`. It then uses nothing of the limits. */
  readonly excess?: Excess;
}

/** Claims of requests with one operation, whose value does not matter. */
export interface SingleClaims {
  readonly range: readonly Claim[];
  readonly put: readonly Claim[];
  readonly deletion: readonly Claim[];
}

/** What was stored under a tenant's prefix. */
export interface Stored {
  /** The prefix, as Latin-1 text. */
  readonly prefix: string;
  readonly keys: number;
  /** Of keys and values. */
  readonly bytes: number;
  /** When the count began, in milliseconds since the epoch. */
  readonly at: number;
}

/** How long a caller counts as let in after a request that a shard has not denied, in milliseconds. */
const LET_IN_MS = 60_000;

/** One tenant in this process: its limits, and what it uses. Times are in milliseconds, from one monotonic clock. */
export class Tenant {
  /** Everything since the tenant is known here. What a limit has refused, or a shard has denied to others, does not count. */
  readonly used: Record<Rate, number> = { puts: 0, ranges: 0, transactions: 0, bytesIn: 0, bytesOut: 0 };
  /** Requests that a limit has refused, or would have refused if the mode were `enforce`. */
  readonly exceeded = Object.fromEntries(LIMITS.map((limit) => [limit, 0])) as Record<Limit, number>;
  openWatches = 0;
  liveLeases = 0;
  private counted: Stored | undefined;
  /** As Latin-1 text. */
  private prefix: string | undefined;
  /** Of the tenant's own user, and of others. */
  readonly ownClaims = singleClaims(this, true);
  readonly claims = singleClaims(this, false);
  private readonly buckets: Partial<Record<Rate, Bucket>> = {};
  private readonly letIn = new WeakMap<Caller, LetIn>();

  /** `share`: number of processes that the limits are divided between, at least 1. */
  constructor(
    private current: TenantConfig,
    private share: number,
    now: number,
  ) {
    this.prefix = prefixText(current);
    this.resize(now);
  }

  get config(): TenantConfig {
    return this.current;
  }

  /** What is stored by the last count; undefined before the first, and without a prefix. */
  get stored(): Stored | undefined {
    return this.counted?.prefix === this.prefix ? this.counted : undefined;
  }

  /** Takes the result of a count. It is used as long as the prefix is the one that was counted. */
  takeStored(counted: Stored): void {
    this.counted = counted;
  }

  get name(): string {
    return this.current.name;
  }

  /** Changes limits and share. What has been used stays used. */
  configure(config: TenantConfig, share: number, now: number): void {
    this.current = config;
    this.prefix = prefixText(config);
    this.share = share;
    this.resize(now);
  }

  private resize(now: number): void {
    const { limits } = this.current;
    for (const rate of RATES) {
      const perSecond = limits[`${rate}PerSecond`];
      if (perSecond === undefined) {
        delete this.buckets[rate];
        continue;
      }
      const own = perSecond / this.share;
      // At least one, so that even a slow rate lets single requests pass.
      const capacity = Math.max(1, own * limits.burstSeconds);
      const bucket = this.buckets[rate];
      if (bucket === undefined) this.buckets[rate] = new Bucket(own, capacity, now);
      else bucket.resize(own, capacity, now);
    }
  }

  /** This process's part of a limit on a number, or of a rate. */
  ownPart(limit: Limit): number | undefined {
    const whole = this.current.limits[limit];
    if (whole === undefined || UNDIVIDED.has(limit)) return whole;
    if (limit === "watches" || limit === "leases") return Math.max(1, Math.floor(whole / this.share));
    return whole / this.share;
  }

  /** Whether as many watches are open in this process as its part of the limit. */
  get hasAllWatches(): boolean {
    const most = this.ownPart("watches");
    return most !== undefined && this.openWatches >= most;
  }

  /** The first limit that a request of `bytes` would exceed. */
  excess(usage: Usage, bytes: number, now: number): Excess | undefined {
    const { puts, ranges, transactions, bytesIn, bytesOut } = this.buckets;
    const { maxValueBytes, storedKeys, storedBytes } = this.current.limits;
    if (maxValueBytes !== undefined && usage.largestValue > maxValueBytes)
      return { tenant: this, limit: "maxValueBytes" };
    // What this request adds is not known: it may replace a value.
    if (usage.values > 0 && (storedKeys !== undefined || storedBytes !== undefined)) {
      const { keys, bytes } = this.stored ?? { keys: 0, bytes: 0 };
      if (storedKeys !== undefined && keys > storedKeys) return { tenant: this, limit: "storedKeys" };
      if (storedBytes !== undefined && bytes > storedBytes) return { tenant: this, limit: "storedBytes" };
    }
    if (puts !== undefined && usage.puts > 0 && !puts.has(usage.puts, now))
      return this.wait(puts, "putsPerSecond", usage.puts, now);
    if (ranges !== undefined && usage.ranges > 0 && !ranges.has(usage.ranges, now))
      return this.wait(ranges, "rangesPerSecond", usage.ranges, now);
    if (transactions !== undefined && usage.transactions > 0 && !transactions.has(usage.transactions, now))
      return this.wait(transactions, "transactionsPerSecond", usage.transactions, now);
    if (bytesIn !== undefined && !bytesIn.has(bytes, now))
      return this.wait(bytesIn, "bytesInPerSecond", bytes, now);
    // The size of the response is not known yet. It is taken afterwards, and the bucket may be in debt.
    if (bytesOut !== undefined && !bytesOut.has(1, now))
      return this.wait(bytesOut, "bytesOutPerSecond", 1, now);
    return undefined;
  }

  private wait(bucket: Bucket, limit: Limit, count: number, now: number): Excess {
    return { tenant: this, limit, waitMs: bucket.wait(count, now) };
  }

  /** Takes a request of `bytes` from what the limits leave. */
  take({ puts, ranges, transactions }: Usage, bytes: number): void {
    const { buckets } = this;
    buckets.puts?.take(puts);
    buckets.ranges?.take(ranges);
    buckets.transactions?.take(transactions);
    buckets.bytesIn?.take(bytes);
  }

  /** Gives back what `take` has taken. */
  giveBack({ puts, ranges, transactions }: Usage, bytes: number): void {
    const { buckets } = this;
    buckets.puts?.give(puts);
    buckets.ranges?.give(ranges);
    buckets.transactions?.give(transactions);
    buckets.bytesIn?.give(bytes);
  }

  /** Takes a response of `bytes` from what the limits leave. */
  takeResponse(bytes: number): void {
    this.buckets.bytesOut?.take(bytes);
  }

  /** Counts a request that was carried out. */
  count({ puts, ranges, transactions }: Usage, bytesIn: number, bytesOut: number): void {
    const { used } = this;
    used.puts += puts;
    used.ranges += ranges;
    used.transactions += transactions;
    used.bytesIn += bytesIn;
    used.bytesOut += bytesOut;
  }

  /** Whether a shard has recently let this caller carry out such a request for the tenant. */
  knows(caller: Caller, usage: Usage, now: number): boolean {
    const known = this.letIn.get(caller);
    if (known === undefined) return false;
    return (known.reads > now || !isRead(usage)) && (known.writes > now || !isWrite(usage));
  }

  /** Notes that a shard has let a caller carry out such a request for the tenant. */
  learn(caller: Caller, usage: Usage, now: number): void {
    this.note(caller, usage, now + LET_IN_MS);
  }

  /** Notes that a shard has denied a caller such a request for the tenant. */
  forget(caller: Caller, usage: Usage): void {
    this.note(caller, usage, Number.NEGATIVE_INFINITY);
  }

  private note(caller: Caller, usage: Usage, until: number): void {
    let known = this.letIn.get(caller);
    if (known === undefined) {
      known = { reads: Number.NEGATIVE_INFINITY, writes: Number.NEGATIVE_INFINITY };
      this.letIn.set(caller, known);
    }
    if (isRead(usage)) known.reads = until;
    if (isWrite(usage)) known.writes = until;
  }
}

/** Until when a caller counts as one that may read, and that may write, something of the tenant. */
interface LetIn {
  reads: number;
  writes: number;
}

const isWrite = ({ puts }: Usage): boolean => puts > 0;
/** Also for a transaction that only compares. */
const isRead = ({ puts, ranges }: Usage): boolean => ranges > 0 || puts === 0;

/** The prefix of a tenant as Latin-1 text. */
export const prefixText = ({ prefix }: Pick<TenantConfig, "prefix">): string | undefined =>
  prefix && Buffer.from(prefix).toString("latin1");

const ONE_RANGE: Usage = { ...noUsage(), ranges: 1 };
const ONE_PUT: Usage = { ...noUsage(), puts: 1, values: 1 };
const ONE_DELETION: Usage = { ...noUsage(), puts: 1 };

const singleClaims = (tenant: Tenant, isOwn: boolean): SingleClaims => ({
  range: [{ tenant, usage: ONE_RANGE, isOwn }],
  put: [{ tenant, usage: ONE_PUT, isOwn }],
  deletion: [{ tenant, usage: ONE_DELETION, isOwn }],
});
