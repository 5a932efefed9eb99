import { setTimeout as pause } from "node:timers/promises";
import type { GuardedShard } from "../shard/guard.js";
import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import type { ShardSet } from "../shard/shardSet.js";
import { Code, StatusError } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import { AlarmResponse, StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";
import { EMPTY } from "../wire/reader.js";
import { since36 } from "./maintenance/since36.js";
import { lowest } from "./maintenance/versions.js";

/** An alarm that is raised somewhere in the store. */
export interface StoreAlarm {
  /** etcd's name, NOSPACE or CORRUPT, or the number of an unknown alarm. */
  readonly alarm: string;
  /** The cluster that has it, such as `shard "east"`, or the timeline host. */
  readonly where: string;
}

/** The versions of a store. */
export interface StoreVersions {
  /** The lowest among the shards, such as "3.4.23". */
  readonly server: string;
  /** The lowest format of the shards' backend files, such as "3.6.0". Empty if unknown, undefined with an etcd before 3.6. */
  readonly storage: string | undefined;
}

/** The state of the store for monitors and load balancers. Calls shards as the proxy itself. */
export interface Probes {
  /** Rejects with UNAVAILABLE while no shard has reported its version. */
  versions(): Promise<StoreVersions>;
  /** The alarms of the shards and of a dedicated timeline host, as far as they respond in time. */
  alarms(): Promise<readonly StoreAlarm[]>;
  /**
   * Reads the timeline's end and the revision of each shard, linearizably. Rejects when the timeline cannot be read. With
   * `every`, rejects when any shard cannot be read, else when none can.
   */
  read(every: boolean): Promise<void>;
}

export interface ProbesDeps {
  readonly shards: ShardSet<GuardedShard>;
  readonly host: Pick<Shard, "name" | "index" | "call">;
  readonly timeline: Pick<Timeline, "sync">;
}

/**
 * How long a cluster may take to report its alarms, in milliseconds. Probes are answered while one is down, and many
 * monitors wait for one second only.
 */
const ALARM_TIMEOUT_MS = 300;
/** Age at which versions are read again, in milliseconds. Until then, and meanwhile, the known ones are returned. */
const VERSION_MAX_AGE_MS = 5_000;
/** How long after the start `versions` waits for shards that have not reported their version yet, in milliseconds. */
const VERSION_WAIT_MS = 300;
const ALARM_NAMES: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

export function createProbes({ shards, host, timeline }: ProbesDeps): Probes {
  /** The last status of each shard. Kept while a shard is down, so that the store's version does not rise then. */
  const states = new Map<GuardedShard, StatusResponse>();
  /** The errors of the last attempt to read versions. */
  let reasons: string[] = [];
  let askedAt = Number.NEGATIVE_INFINITY;
  // At once, so that the first response does not wait for a shard that is down.
  const firstAsked = performance.now();
  let asking: Promise<void> | undefined = askVersions();

  async function askVersions(): Promise<void> {
    const asked = await Promise.allSettled(
      shards.all().map(async (shard) => {
        const status = await shard.call(Maintenance.Status, EMPTY, { idempotent: true });
        states.set(shard, StatusResponse.decode(status));
      }),
    );
    reasons = asked.flatMap((each) => (each.status === "rejected" ? [String(each.reason.message)] : []));
    askedAt = performance.now();
    asking = undefined;
  }

  const known = () => shards.all().flatMap((shard) => states.get(shard) ?? []);

  return {
    async versions() {
      if (performance.now() - askedAt > VERSION_MAX_AGE_MS) asking ??= askVersions();
      const rest = firstAsked + VERSION_WAIT_MS - performance.now();
      if (known().length < shards.all().length && rest > 0) await Promise.race([asking, pause(rest)]);
      if (known().length === 0) await asking;
      const statuses = known();
      if (statuses.length === 0) throw new StatusError(Code.UNAVAILABLE, reasons.join("; "));
      const server = statuses.map(({ version }) => version).reduce(lowest);
      return { server, storage: since36(statuses).storageVersion };
    },
    async alarms() {
      const options = { idempotent: true, mayLag: true, deadline: Date.now() + ALARM_TIMEOUT_MS };
      const clusters = host.index < 0 ? [...shards.all(), host] : shards.all();
      const alarms = await Promise.all(
        clusters.map(async (cluster) => {
          const response = await cluster.call(Maintenance.Alarm, EMPTY, options).catch(() => undefined);
          if (response === undefined) return [];
          return AlarmResponse.decode(response).alarms.map(({ alarm }) => ({
            alarm: ALARM_NAMES[alarm] ?? String(alarm),
            where: whereOf(cluster),
          }));
        }),
      );
      return alarms.flat();
    },
    async read(every) {
      await timeline.sync();
      const reads = shards.all().map((shard) => shard.verify());
      if (every) await Promise.all(reads);
      else {
        await Promise.any(reads).catch((error: AggregateError) => {
          throw error.errors[0];
        });
      }
    },
  };
}

function whereOf(shard: Pick<Shard, "index" | "name">): string {
  return shard.index < 0 ? "the timeline host" : describeShard(shard);
}
