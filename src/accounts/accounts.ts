import { Pace } from "../mover/pace.js";
import type { Logger } from "../ops/log.js";
import type { Shard } from "../shard/shard.js";
import { StatusError, withDetail } from "../status/error.js";
import { prefixText, type Tenant } from "../tenants/tenant.js";
import type { Tenants } from "../tenants/tenants.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { keyText } from "../watch/keys.js";
import { Changes } from "./changes.js";
import { type Count, Counting, type Total } from "./counting.js";
import { Follower, type FollowerDeps } from "./follower.js";
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
/** After a change, how long to wait for more before the tenants have new numbers. */
const CHANGED_MS = 1_000;

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
  /** The changes between counts; undefined: nobody wants to know them. */
  readonly events?: Events | undefined;
  readonly runtime: Runtime;
  readonly log: Pick<Logger, "warn">;
}

export interface Events extends Pick<FollowerDeps, "hub" | "header"> {
  readonly timeline: Pick<Timeline, "head" | "cutAt">;
  /** Whether the tenants should know what changes between two counts. Every change in the store then costs a little. */
  wanted(): boolean;
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
 * change counts from the next count on; for tenants, if that is wanted, from its event on.
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
  private readonly follower: Follower | undefined;
  /** Prefixes of the tenants when the last count began. */
  private prefixes: ReadonlyMap<Tenant, string> = new Map();
  /** What has changed since the last count, and since the one in progress began; undefined where nobody has followed it. */
  private changes: Changes | undefined;
  private nextChanges: Changes | undefined;
  private cancelTelling: (() => void) | undefined;

  constructor(private readonly deps: AccountsDeps) {
    this.pace = new Pace(deps.runtime);
    const { events, tenants } = deps;
    this.follower =
      events &&
      new Follower({
        ...events,
        matters: (key) => tenants.ofKey(key, 0, key.length) !== undefined,
        changed: (change) => {
          this.nextChanges?.add(change);
          if (this.changes === undefined) return;
          this.changes.add(change);
          this.cancelTelling ??= deps.runtime.timer(CHANGED_MS, () => this.tell(), true);
        },
        lost: () => {
          this.forgetChanges();
          this.consider();
        },
      });
  }

  /** Begins to count, and to follow changes, if that is wanted and it does not do so yet. */
  consider(): void {
    if (this.isStopped || !this.deps.events?.wanted()) this.forgetChanges();
    else if (this.follower?.start() && this.cancel !== undefined) {
      // Only a count from now on knows what has changed since.
      this.cancel();
      this.wait(RETRY_MS);
    }
    if (this.isBusy || this.isStopped || this.cancel !== undefined || !this.deps.wanted()) return;
    this.wait(0);
  }

  stop(): void {
    this.isStopped = true;
    this.cancel?.();
    this.forgetChanges();
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
          // Changes were followed only after it had begun.
          if (this.changes === undefined && this.follower?.position !== undefined) return RETRY_MS;
          return Math.max(PAUSE_MS, runtime.now() - began);
        },
        (reason) => {
          this.nextChanges = undefined;
          if (reason instanceof ShardsChanged || reason instanceof ChangesLost || this.isStopped)
            return RETRY_MS;
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
    const { shards, shardOf, groups, tenants, runtime, processes, events } = this.deps;
    const at = runtime.date();
    const prefixes = new Map<Tenant, string>();
    for (const tenant of tenants.all()) {
      const prefix = prefixText(tenant.config);
      if (prefix !== undefined) prefixes.set(tenant, prefix);
    }
    // The tenants of now: one that is added meanwhile would get only some of its keys.
    const tenantOf = tenants.finder();
    const counting = new Counting(prefixes.keys());
    const { follower } = this;
    const changes = follower?.position === undefined ? undefined : new Changes(tenantOf, shardOf);
    this.nextChanges = changes;
    const check = () => {
      if (this.isStopped) throw new Error("the proxy stops");
      if (this.nextChanges !== changes) throw new ChangesLost("changes were lost");
    };
    await sweep(
      {
        shards,
        shardOf,
        starts: this.starts,
        pace: {
          take: async (keys) => {
            this.pace.keysPerSecond = KEYS_PER_SECOND / processes();
            await this.pace.take(keys);
            check();
          },
        },
        reading: changes && {
          begins: (shard) => {
            check();
            changes.begins(shard.index);
            return Math.max(1, events!.timeline.cutAt(follower!.position!, shard.index));
          },
          ends: (shard, end) => changes.ends(shard.index, end),
        },
      },
      (key, bytes) => {
        counting.add(key, bytes, groups.ofKey(key), tenantOf(key));
      },
    );
    check();
    this.count = counting.result();
    this.at = at;
    this.prefixes = prefixes;
    changes?.complete();
    this.changes = changes;
    this.nextChanges = undefined;
    this.tell();
  }

  /** Tells the tenants what is stored. */
  private tell(): void {
    this.cancelTelling?.();
    this.cancelTelling = undefined;
    const { count, at, changes } = this;
    if (count === undefined || at === undefined) return;
    for (const [tenant, counted] of count.tenants) {
      const { keys, bytes } = changes?.since(tenant, counted) ?? counted;
      tenant.takeStored({ keys, bytes, at, prefix: this.prefixes.get(tenant)! });
    }
    this.deps.counted();
  }

  private forgetChanges(): void {
    this.follower?.stop();
    this.changes = undefined;
    this.nextChanges = undefined;
    this.cancelTelling?.();
    this.cancelTelling = undefined;
  }
}

/** Thrown when the changes since a count began are not known any more. */
class ChangesLost extends Error {}

/** The texts of the items for which `measure` is largest, and above 0. */
function top<T>(items: ReadonlyMap<string, T>, size: number, measure: (item: T) => number): string[] {
  const largest = new Top<readonly [string, T]>(size, ([, item]) => measure(item));
  for (const entry of items) if (measure(entry[1]) > 0) largest.add(entry);
  return largest.largest().map(([text]) => text);
}
