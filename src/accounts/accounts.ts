import { Pace } from "../mover/pace.js";
import type { Logger } from "../ops/log.js";
import type { Shard } from "../shard/shard.js";
import { StatusError, withDetail } from "../status/error.js";
import { prefixText, type Tenant } from "../tenants/tenant.js";
import type { Tenants } from "../tenants/tenants.js";
import type { Runtime } from "../turn/runtime.js";
import { keyText } from "../watch/keys.js";
import { type Count, Counting, type Total } from "./counting.js";
import type { Groups } from "./groups.js";
import type { RequestRates } from "./requests.js";
import { ShardsChanged, sweep } from "./sweep.js";
import { Top } from "./top.js";
import { type WatchStream, watchesByGroup } from "./watches.js";

/** Most keys a second that all processes of the store read together, to count them. */
const KEYS_PER_SECOND = 2_000;
/** Shortest pause between two counts, in milliseconds. It is at least as long as the count before took. */
const PAUSE_MS = 60_000;
/** Pause after a count that could not be completed. */
const RETRY_MS = 10_000;

export interface AccountsDeps {
  /** All shards in use. The list is another one after a change. */
  shards(): readonly Shard[];
  /** The shard that holds a key now. */
  shardOf(key: Uint8Array): number;
  readonly groups: Groups;
  readonly tenants: Tenants;
  /** The clients' streams of watches in this process. */
  readonly watches: Iterable<WatchStream>;
  /** Requests in this process. */
  readonly requests: RequestRates;
  /** Number of processes that serve the store, at least 1. */
  processes(): number;
  /** Called when the tenants have new numbers. */
  counted(): void;
  /** Whether anybody wants to know what is stored. */
  wanted(): boolean;
  readonly runtime: Runtime;
  readonly log: Pick<Logger, "warn">;
}

/** What is known of a group. `null`: not known. */
export interface GroupAccount {
  readonly group: Uint8Array;
  readonly shard: string;
  readonly tenant: string | null;
  readonly keys: number | null;
  readonly bytes: number | null;
  readonly requestsPerSecond: number;
  readonly watches: number;
}

/**
 * The accounts of the store: a slow count of all keys, again and again, and the requests and watches of this process. What clients
 * change counts from the next count on.
 */
export class Accounts {
  private count: Count | undefined;
  private at: number | undefined;
  private readonly pace: Pace;
  private readonly starts: WeakMap<Shard, Uint8Array> = new WeakMap();
  private isBusy = false;
  private isStopped = false;
  private cancel: (() => void) | undefined;
  private said = "";

  constructor(private readonly deps: AccountsDeps) {
    this.pace = new Pace(deps.runtime);
  }

  /** Begins to count if that is wanted and it does not count yet. */
  consider(): void {
    if (this.isBusy || this.isStopped || this.cancel !== undefined || !this.deps.wanted()) return;
    this.wait(0);
  }

  stop(): void {
    this.isStopped = true;
    this.cancel?.();
    this.pace.release();
  }

  /** When the count began that the numbers are from, in milliseconds since the epoch; undefined before the first. */
  get countedAt(): number | undefined {
    return this.at;
  }

  /** What a shard stores. */
  shard(name: string): Readonly<Total> | undefined {
    return this.count && (this.count.shards.get(name) ?? { keys: 0, bytes: 0 });
  }

  /** At most `limit` groups: the largest by keys and by bytes, the busiest, and the most watched. */
  groups(limit: number): GroupAccount[] {
    const { requests, watches, groups, tenants, runtime } = this.deps;
    const rates = requests.all(runtime.now());
    const watched = watchesByGroup(watches, groups, tenants);
    const counted = new Map((this.count?.groups ?? []).map((each) => [keyText(each.group), each]));
    const part = Math.max(1, Math.floor(limit / 4));
    const chosen = new Set([
      ...top(counted, part, ({ keys }) => keys),
      ...top(counted, part, ({ bytes }) => bytes),
      ...top(rates, part, ({ requestsPerSecond }) => requestsPerSecond),
      ...top(watched, part, ({ watches }) => watches),
    ]);
    return [...chosen].map((text) => {
      const count = counted.get(text);
      const { group, shard, tenant } = (count ?? rates.get(text) ?? watched.get(text))!;
      return {
        group,
        shard,
        tenant: tenant?.name ?? null,
        keys: count?.keys ?? null,
        bytes: count?.bytes ?? null,
        requestsPerSecond: rates.get(text)?.requestsPerSecond ?? 0,
        watches: watched.get(text)?.watches ?? 0,
      };
    });
  }

  private wait(ms: number): void {
    if (this.isStopped) return;
    this.cancel = this.deps.runtime.timer(
      ms,
      () => {
        this.cancel = undefined;
        if (this.deps.wanted()) this.run();
      },
      true,
    );
  }

  private run(): void {
    const { runtime, log } = this.deps;
    this.isBusy = true;
    const began = runtime.now();
    this.countOnce()
      .then(
        () => {
          this.said = "";
          return Math.max(PAUSE_MS, runtime.now() - began);
        },
        (reason) => {
          if (reason instanceof ShardsChanged || this.isStopped) return RETRY_MS;
          const text = withDetail(StatusError.from(reason));
          if (text !== this.said) log.warn({ error: text }, "the keys of the store could not be counted");
          this.said = text;
          return RETRY_MS;
        },
      )
      .then((pause) => {
        this.isBusy = false;
        this.wait(pause);
      });
  }

  private async countOnce(): Promise<void> {
    const { shards, shardOf, groups, tenants, runtime, processes } = this.deps;
    const at = runtime.date();
    const prefixes = new Map<Tenant, string>();
    for (const tenant of tenants.all()) {
      const prefix = prefixText(tenant.config);
      if (prefix !== undefined) prefixes.set(tenant, prefix);
    }
    // The tenants of now: one that is added meanwhile would get only some of its keys.
    const tenantOf = tenants.finder();
    const counting = new Counting(prefixes.keys());
    await sweep(
      {
        shards,
        shardOf,
        starts: this.starts,
        pace: {
          take: async (keys) => {
            this.pace.keysPerSecond = KEYS_PER_SECOND / processes();
            await this.pace.take(keys);
            if (this.isStopped) throw new Error("the proxy stops");
          },
        },
      },
      (key, bytes) => {
        counting.add(key, bytes, groups.ofKey(key), tenantOf(key));
      },
    );
    this.count = counting.result();
    this.at = at;
    for (const [tenant, total] of this.count.tenants)
      tenant.takeStored({ ...total, at, prefix: prefixes.get(tenant)! });
    this.deps.counted();
  }
}

/** The texts of the items for which `measure` is largest, and above 0. */
function top<T>(items: ReadonlyMap<string, T>, size: number, measure: (item: T) => number): string[] {
  const largest = new Top<readonly [string, T]>(size, ([, item]) => measure(item));
  for (const entry of items) if (measure(entry[1]) > 0) largest.add(entry);
  return largest.largest().map(([text]) => text);
}
