import type { TenantConfig } from "../config/tenants.js";
import type { Logger } from "../ops/log.js";
import { LogGate } from "../ops/logGate.js";
import type { Caller } from "../shard/caller.js";
import { Code, StatusError } from "../status/error.js";
import type { KeyRange } from "../wire/keyRange.js";
import { TenantLeases } from "./leases.js";
import { Prefixes } from "./prefixes.js";
import { type Claim, type Excess, type Limit, type Stored, Tenant, UNDIVIDED } from "./tenant.js";

export interface TenantsOptions {
  /** Number of processes that serve the store now, as far as is known; at least 1. Limits are divided by it. */
  processes(): number;
  /** Milliseconds, monotonic. */
  now(): number;
  readonly log: Pick<Logger, "warn">;
}

/** How often the number of processes is looked up, in milliseconds. */
const SHARE_MS = 1_000;

/** The tenants of the configuration, and whether their limits let requests pass. */
export class Tenants {
  readonly leases = new TenantLeases();
  private byName = new Map<string, Tenant>();
  private byUser = new Map<string, Tenant>();
  private prefixes = new Prefixes<Tenant>([]);
  /** What another process has counted, by name. */
  private foreign: ReadonlyMap<string, Stored> = new Map();
  private share = 1;
  private shareAt = Number.NEGATIVE_INFINITY;
  private readonly gate: LogGate;

  constructor(private readonly options: TenantsOptions) {
    const { log } = options;
    this.gate = new LogGate((kind, more) => log.warn({ kind, more }, "similar lines were left out"), 1);
  }

  /** Replaces the tenants. One that keeps its name keeps what it has used. */
  configure(configs: readonly TenantConfig[]): void {
    const now = this.options.now();
    const before = this.byName;
    const tenants = configs.map((config) => {
      const known = before.get(config.name);
      known?.configure(config, this.share, now);
      return known ?? new Tenant(config, this.share, now);
    });
    for (const tenant of tenants) this.takeForeign(tenant);
    this.byName = new Map(tenants.map((tenant) => [tenant.name, tenant]));
    this.byUser = new Map(
      tenants.flatMap((tenant) => (tenant.config.user === undefined ? [] : [[tenant.config.user, tenant]])),
    );
    this.prefixes = new Prefixes(
      tenants.flatMap((value) => {
        const { prefix } = value.config;
        return prefix === undefined ? [] : [{ prefix, value }];
      }),
    );
  }

  /** For the tenants' own methods. */
  now(): number {
    return this.options.now();
  }

  /** False while there are none: then nothing has to be asked. */
  get some(): boolean {
    return this.byName.size > 0;
  }

  all(): Iterable<Tenant> {
    return this.byName.values();
  }

  /** The tenant that all keys of a range count for. */
  ofRange(key: Uint8Array, rangeEnd: Uint8Array): Tenant | undefined {
    return this.prefixes.find(key, rangeEnd);
  }

  /** The tenant that the key counts for that is `bytes` from `from` up to `to`. */
  ofKey(bytes: Uint8Array, from: number, to: number): Tenant | undefined {
    return this.prefixes.findKey(bytes, from, to);
  }

  /** What is stored of each tenant, by name, as far as it is known. */
  stored(): Readonly<Record<string, Stored>> {
    return Object.fromEntries(
      [...this.all()].flatMap(({ name, stored }) => (stored === undefined ? [] : [[name, stored]])),
    );
  }

  /** Takes over what another process has counted, also for tenants that are not known here yet. */
  takeStored(counted: ReturnType<Tenants["stored"]>): void {
    this.foreign = new Map(Object.entries(counted));
    for (const tenant of this.all()) this.takeForeign(tenant);
  }

  private takeForeign(tenant: Tenant): void {
    const stored = this.foreign.get(tenant.name);
    if (stored !== undefined) tenant.takeStored(stored);
  }

  /** Returns a function that finds the tenant of a key, among the tenants of now. */
  finder(): (key: Uint8Array) => Tenant | undefined {
    const { prefixes } = this;
    return (key) => prefixes.findKey(key, 0, key.length);
  }

  /** The tenant that all requests of a caller count for. */
  ofCaller(caller: Caller | undefined): Tenant | undefined {
    return caller?.user === undefined ? undefined : this.byUser.get(caller.user);
  }

  /**
   * Takes a request of `bytes` from the limits of all its tenants, if it may pass, and returns what to settle later. Otherwise
   * takes nothing, and returns the limit that it exceeds. For a tenant in the mode `observe`, the excess is noted, and the request
   * passes.
   */
  admit(claims: readonly Claim[], bytes: number): Excess | readonly Claim[] {
    const now = this.options.now();
    this.shareOut(now);
    let admitted = claims;
    for (let i = 0; i < claims.length; i++) {
      const claim = claims[i]!;
      const excess = claim.tenant.excess(claim.usage, bytes, now);
      if (excess === undefined) continue;
      if (claim.tenant.config.mode === "enforce") return excess;
      admitted = admitted.with(i, { ...claim, excess });
    }
    for (const { tenant, usage, excess } of admitted) {
      if (excess === undefined) tenant.take(usage, bytes);
      else this.note(excess);
    }
    return admitted;
  }

  /** Counts a request that was admitted and carried out, or was tried. `bytes` is its size, `response` that of its response. */
  settle(admitted: readonly Claim[], bytes: number, response: number): void {
    for (const { tenant, usage, excess } of admitted) {
      tenant.count(usage, bytes, response);
      if (excess === undefined) tenant.takeResponse(response);
    }
  }

  /** Gives back what `admit` has taken for a request that does not count. */
  giveBack(admitted: readonly Claim[], bytes: number): void {
    for (const { tenant, usage, excess } of admitted) if (excess === undefined) tenant.giveBack(usage, bytes);
  }

  /**
   * Counts a new watch for its tenants, if it may be opened, and returns how to count that it has ended. Otherwise returns the
   * error.
   */
  openWatch(range: KeyRange, caller: Caller | undefined): (() => void) | StatusError {
    const tenants = this.ofWatch(range, caller);
    if (tenants.size === 0) return NOTHING;
    this.shareOut(this.options.now());
    for (const tenant of tenants) {
      if (!tenant.hasAllWatches) continue;
      const error = this.refuse({ tenant, limit: "watches" });
      if (tenant.config.mode === "enforce") return error;
    }
    for (const tenant of tenants) tenant.openWatches++;
    return () => {
      for (const tenant of tenants) tenant.openWatches--;
    };
  }

  /** Whether `openWatch` would return an error now. */
  refusesWatch(range: KeyRange, caller: Caller | undefined): boolean {
    if (!this.some) return false;
    this.shareOut(this.options.now());
    for (const { config, hasAllWatches } of this.ofWatch(range, caller))
      if (hasAllWatches && config.mode === "enforce") return true;
    return false;
  }

  private ofWatch({ key, rangeEnd }: KeyRange, caller: Caller | undefined): ReadonlySet<Tenant> {
    const tenants = [this.ofRange(key, rangeEnd), this.ofCaller(caller)];
    return new Set(tenants.filter((tenant) => tenant !== undefined));
  }

  /**
   * Reserves a place for a lease that is about to be granted. Returns how to give it back once the lease is noted or could not
   * be granted; or the error if the tenant has too many leases.
   */
  reserveLease(tenant: Tenant): (() => void) | StatusError {
    const now = this.options.now();
    this.shareOut(now);
    const most = tenant.ownPart("leases");
    if (most !== undefined && tenant.liveLeases >= most) this.leases.sweep(tenant, now);
    if (most !== undefined && tenant.liveLeases >= most) {
      const error = this.refuse({ tenant, limit: "leases" });
      if (tenant.config.mode === "enforce") return error;
    }
    tenant.liveLeases++;
    return () => {
      tenant.liveLeases--;
    };
  }

  /** Notes that a request exceeds a limit, and returns the error. */
  refuse(excess: Excess): StatusError {
    this.note(excess);
    return errorOf(excess, this.share);
  }

  private note({ tenant, limit }: Excess): void {
    tenant.exceeded[limit]++;
    const { name, config } = tenant;
    if (!this.gate.passes(`${name} ${limit}`)) return;
    this.options.log.warn({ tenant: name, limit, mode: config.mode }, "a tenant is above a limit");
  }

  /** Divides the limits anew if the number of processes has changed. */
  private shareOut(now: number): void {
    if (now - this.shareAt < SHARE_MS) return;
    this.shareAt = now;
    const share = Math.max(1, this.options.processes());
    if (share === this.share) return;
    this.share = share;
    for (const tenant of this.byName.values()) tenant.configure(tenant.config, share, now);
  }
}

const NOTHING = () => {};

const UNITS: Record<Limit, string> = {
  putsPerSecond: "puts and deletions a second",
  rangesPerSecond: "ranges a second",
  transactionsPerSecond: "transactions a second",
  bytesInPerSecond: "bytes of requests a second",
  bytesOutPerSecond: "bytes of responses a second",
  watches: "open watches",
  leases: "leases",
  maxValueBytes: "bytes in a value",
  storedKeys: "stored keys",
  storedBytes: "stored bytes of keys and values",
};

/** The error for clients: it names the limit and the tenant. */
function errorOf({ tenant, limit, waitMs }: Excess, share: number): StatusError {
  const whole = tenant.config.limits[limit];
  const part = share > 1 && !UNDIVIDED.has(limit) ? `, divided between ${share} processes` : "";
  const isStored = limit === "storedKeys" || limit === "storedBytes";
  const hint = isStored ? "; delete keys, and try again some seconds later" : "";
  const when = waitMs === undefined ? hint : `; try again in ${Math.max(1, Math.ceil(waitMs))} ms`;
  return new StatusError(
    Code.RESOURCE_EXHAUSTED,
    `etcd-braid: tenant "${tenant.name}" is above its limit of ${whole} ${UNITS[limit]} (${limit}${part})${when}`,
  );
}
