import type { Call } from "../../rpc/call.js";
import { isDenied } from "../../shard/access.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { AlarmAction, type AlarmMember, AlarmRequest, AlarmResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { answersOf, everywhere } from "./everywhere.js";

/** etcd's names of its alarms, by number. */
const NAMES = ["NONE", "NOSPACE", "CORRUPT"];

/** A cluster that can have alarms. */
interface Alarmed extends Pick<Shard, "call"> {
  /** Of the shard, or -1 for a timeline host of its own. */
  readonly index: number;
  readonly name: string;
}

/**
 * Alarms of the store: those of all shards, and of the timeline host, without which there are no writes. To raise or to
 * disarm one goes to all of them, because on etcd, too, the alarm of any member holds for the whole; a cluster that does
 * not have the alarm that is disarmed changes nothing.
 */
export class Alarms {
  /** The shards, then the timeline host if it is a cluster of its own. */
  private readonly clusters: readonly Alarmed[];
  /** What the log was told last, by cluster. */
  private readonly told: string[];

  constructor(private readonly deps: MaintenanceDeps) {
    const { shards, host, hostShard } = deps;
    const own = { index: -1, name: "timeline host", call: host.call.bind(host) };
    this.clusters = hostShard < 0 ? [...shards, own] : shards;
    this.told = this.clusters.map(() => "");
  }

  async answer(call: Call, bytes: Uint8Array): Promise<Uint8Array> {
    const { shards, timeline, identity } = this.deps;
    const { action, alarm } = AlarmRequest.decode(bytes);
    if (action < AlarmAction.GET || action > AlarmAction.DEACTIVATE) {
      throw new StatusError(Code.INVALID_ARGUMENT, `etcd-braid: there is no alarm action ${action}`);
    }
    // To raise what is no alarm is the end of every etcd that applies it, now and at each start.
    if (action === AlarmAction.ACTIVATE && (alarm <= 0 || alarm >= NAMES.length)) {
      throw new StatusError(Code.INVALID_ARGUMENT, `etcd-braid: there is no alarm ${alarm} to raise`);
    }
    const ask = (clusters: readonly Alarmed[]) =>
      everywhere(clusters, describeShard, async (cluster) => {
        // Raised or disarmed twice is as good as once.
        const options = optionsFor(call, true, cluster);
        return AlarmResponse.decode(await cluster.call(Maintenance.Alarm, bytes, options)).alarms;
      });
    const outcomes = await ask(shards);
    // A timeline host of its own is asked by the proxy itself: only when shards let the client do it, and none refuses.
    const refused = outcomes.some(({ error }) => error !== undefined && isDenied(error));
    if (!refused && outcomes.some(({ error }) => error === undefined)) {
      outcomes.push(...(await ask(this.clusters.slice(shards.length))));
    }
    outcomes.forEach(({ value }, i) => {
      if (action === AlarmAction.GET && value !== undefined) this.tell(i, value);
    });
    const alarms = distinct(answersOf(outcomes).flat());
    return Buffer.concat([identity.header(timeline.head), AlarmResponse.encode({ alarms })]);
  }

  /** The answer has no room for the clusters' names: the log tells them, once for each change. */
  private tell(at: number, alarms: readonly AlarmMember[]): void {
    const text = alarms.map(describe).join(", ");
    if (text === this.told[at]) return;
    this.told[at] = text;
    const { index, name } = this.clusters[at]!;
    const fields = index < 0 ? { cluster: name, alarms: text } : { shard: name, alarms: text };
    const who = index < 0 ? "timeline host" : "shard";
    if (text === "") this.deps.log.info(fields, `the ${who} has no alarm any more`);
    else this.deps.log.warn(fields, `the ${who} has alarms`);
  }
}

function describe({ memberId, alarm }: AlarmMember): string {
  return `${NAMES[alarm] ?? alarm} of member ${memberId.toString(16)}`;
}

/** One that was raised through a proxy is on every cluster; it counts once. */
function distinct(alarms: readonly AlarmMember[]): AlarmMember[] {
  return [...new Map(alarms.map((alarm) => [`${alarm.memberId}/${alarm.alarm}`, alarm])).values()];
}
