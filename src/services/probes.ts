import { setTimeout as pause } from "node:timers/promises";
import type { GuardedShard } from "../shard/guard.js";
import { describeShard } from "../shard/name.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import { AlarmResponse, StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";
import { EMPTY } from "../wire/reader.js";
import { since36 } from "./maintenance/newer.js";
import { lowest } from "./maintenance/versions.js";

/** An alarm that is raised somewhere in the store. */
export interface StoreAlarm {
  /** etcd's name: NOSPACE or CORRUPT; the number of an alarm that this version does not know. */
  readonly alarm: string;
  /** The cluster that it is raised on, for people: `shard "east"`, or the timeline host. */
  readonly where: string;
}

/** The versions of a store. */
export interface StoreVersions {
  /** The lowest among the shards, such as "3.4.23". */
  readonly server: string;
  /** The lowest format of the shards' backend files, such as "3.6.0"; empty: not known; undefined: etcds before 3.6 do not tell. */
  readonly storage: string | undefined;
}

/** What monitors and load balancers ask about the store, as the proxy itself sees it and whoever asks. */
export interface Probes {
  /** Rejects with UNAVAILABLE while no shard has told its version. */
  versions(): Promise<StoreVersions>;
  /** The alarms of the shards, and of a timeline host of its own, that answer soon. */
  alarms(): Promise<readonly StoreAlarm[]>;
  /**
   * Reads the timeline's end and the revision of each shard, linearizably. Rejects when the timeline can not be
   * read, and with `every` when one of the shards can not be read, else when none can.
   */
  read(every: boolean): Promise<void>;
}

export interface ProbesDeps {
  readonly shards: readonly GuardedShard[];
  readonly host: Pick<Shard, "name" | "index" | "call">;
  readonly timeline: Pick<Timeline, "sync">;
}

/**
 * How long a cluster may take to tell its alarms, ms: while one is down, probes are to be answered all the same, and
 * many of those who ask wait for a second only.
 */
const ALARM_PATIENCE = 300;
/** Versions that are older are asked for again, ms; what is known is answered meanwhile. */
const VERSION_AGE = 5_000;
/** How long after the start answers wait for shards that have not told their version yet, ms. */
const VERSION_WAIT_MS = 300;
const ALARM_NAMES: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

export function createProbes({ shards, host, timeline }: ProbesDeps): Probes {
  const clusters = host.index < 0 ? [...shards, host] : shards;
  /** By shard; kept while it is down, so that the store's version does not rise for that. */
  const states: (StatusResponse | undefined)[] = shards.map(() => undefined);
  /** Why shards have not told their version, the last time. */
  let reasons: string[] = [];
  let askedAt = Number.NEGATIVE_INFINITY;
  // At once, so that the first answer is not held up by a shard that is down.
  const firstAsked = performance.now();
  let asking: Promise<void> | undefined = askVersions();

  async function askVersions(): Promise<void> {
    const asked = await Promise.allSettled(
      shards.map(async (shard, i) => {
        const status = await shard.call(Maintenance.Status, EMPTY, { idempotent: true });
        states[i] = StatusResponse.decode(status);
      }),
    );
    reasons = asked.flatMap((each) => (each.status === "rejected" ? [String(each.reason.message)] : []));
    askedAt = performance.now();
    asking = undefined;
  }

  return {
    async versions() {
      if (performance.now() - askedAt > VERSION_AGE) asking ??= askVersions();
      const rest = firstAsked + VERSION_WAIT_MS - performance.now();
      if (states.includes(undefined) && rest > 0) await Promise.race([asking, pause(rest)]);
      if (states.every((state) => state === undefined)) await asking;
      const known = states.filter((state) => state !== undefined);
      if (known.length === 0) throw new StatusError(Code.UNAVAILABLE, reasons.join("; "));
      const server = known.map(({ version }) => version).reduce(lowest);
      return { server, storage: since36(known).storageVersion };
    },
    async alarms() {
      const deadline = Date.now() + ALARM_PATIENCE;
      const asked = await Promise.allSettled(
        clusters.map((cluster) =>
          cluster.call(Maintenance.Alarm, EMPTY, { idempotent: true, mayLag: true, deadline }),
        ),
      );
      return asked.flatMap((each, i) => {
        if (each.status === "rejected") return [];
        const { alarms } = AlarmResponse.decode(each.value);
        return alarms.map(({ alarm }) => ({
          alarm: ALARM_NAMES[alarm] ?? String(alarm),
          where: whereOf(clusters[i]),
        }));
      });
    },
    async read(every) {
      await timeline.sync();
      const reads = shards.map((shard) => shard.verify());
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
