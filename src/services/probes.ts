import type { GuardedShard } from "../shard/guard.js";
import { Code, StatusError } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import { AlarmResponse, StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";
import { EMPTY } from "../wire/reader.js";
import { lowest } from "./maintenance/versions.js";

/** An alarm that is raised on a shard. */
export interface StoreAlarm {
  /** etcd's name: NOSPACE or CORRUPT; the number of an alarm that this version does not know. */
  readonly alarm: string;
  readonly shard: string;
}

/** What monitors and load balancers ask about the store, as the proxy itself sees it and whoever asks. */
export interface Probes {
  /** The lowest version among the shards, such as "3.4.23". Rejects with UNAVAILABLE while no shard has told one. */
  version(): Promise<string>;
  /** The alarms of the shards that answer within a second. */
  alarms(): Promise<readonly StoreAlarm[]>;
  /**
   * Reads the timeline's end and the revision of each shard, linearizably. Rejects when the timeline can not be
   * read, and with `every` when one of the shards can not be read, else when none can.
   */
  read(every: boolean): Promise<void>;
}

export interface ProbesDeps {
  readonly shards: readonly GuardedShard[];
  readonly timeline: Pick<Timeline, "sync">;
}

/** How long a shard may take to tell its alarms, ms: a probe is to be answered while a shard is down, too. */
const ALARM_PATIENCE = 1_000;
const ALARM_NAMES: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

export function createProbes({ shards, timeline }: ProbesDeps): Probes {
  /** By shard; kept while it is down, so that the store's version does not rise for that. */
  const versions: (string | undefined)[] = shards.map(() => undefined);
  return {
    async version() {
      const asked = await Promise.allSettled(
        shards.map(async (shard, i) => {
          const status = await shard.call(Maintenance.Status, EMPTY, { idempotent: true });
          versions[i] = StatusResponse.decode(status).version;
        }),
      );
      const known = versions.filter((version) => version !== undefined);
      if (known.length > 0) return known.reduce(lowest);
      const reasons = asked.flatMap((each) =>
        each.status === "rejected" ? [String(each.reason.message)] : [],
      );
      throw new StatusError(Code.UNAVAILABLE, reasons.join("; "));
    },
    async alarms() {
      const deadline = Date.now() + ALARM_PATIENCE;
      const asked = await Promise.allSettled(
        shards.map((shard) =>
          shard.call(Maintenance.Alarm, EMPTY, { idempotent: true, mayLag: true, deadline }),
        ),
      );
      return asked.flatMap((each, i) => {
        if (each.status === "rejected") return [];
        const { alarms } = AlarmResponse.decode(each.value);
        return alarms.map(({ alarm }) => ({
          alarm: ALARM_NAMES[alarm] ?? String(alarm),
          shard: shards[i].name,
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
