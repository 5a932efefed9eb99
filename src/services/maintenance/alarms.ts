import type { Call } from "../../rpc/call.js";
import { isDenied } from "../../shard/access.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { AlarmAction, type AlarmMember, AlarmRequest, AlarmResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { askEach, valuesOf } from "./outcomes.js";

/** etcd's names of its alarms, by number. */
const NAMES = ["NONE", "NOSPACE", "CORRUPT"];

/** A cluster that can have alarms. */
interface Alarmed extends Pick<Shard, "call"> {
  /** Index of the shard, or -1 for a dedicated timeline host. */
  readonly index: number;
  readonly name: string;
}

/**
 * Alarms of the store: those of all shards, and of the timeline host, without which there are no writes. Raising and
 * disarming go to all clusters, because in etcd, too, the alarm of one member concerns the whole cluster. To disarm an
 * alarm that a cluster does not have changes nothing.
 */
export class Alarms {
  /** The alarms that were logged last, by cluster. */
  private readonly logged = new Map<Alarmed, string>();

  constructor(private readonly deps: MaintenanceDeps) {}

  /** The timeline host, if it is not a shard. */
  private get dedicated(): readonly Alarmed[] {
    const { host } = this.deps;
    return host.index < 0 ? [host] : [];
  }

  async answer(call: Call, bytes: Uint8Array): Promise<Uint8Array> {
    const { timeline, identity } = this.deps;
    const shards = this.deps.shards.all();
    const { action, alarm } = AlarmRequest.decode(bytes);
    if (action < AlarmAction.GET || action > AlarmAction.DEACTIVATE) {
      throw new StatusError(Code.INVALID_ARGUMENT, `etcd-braid: there is no alarm action ${action}`);
    }
    // An unknown alarm crashes every etcd that applies it, now and after each restart.
    if (action === AlarmAction.ACTIVATE && (alarm <= 0 || alarm >= NAMES.length)) {
      throw new StatusError(Code.INVALID_ARGUMENT, `etcd-braid: there is no alarm ${alarm} to raise`);
    }
    const ask = (clusters: readonly Alarmed[]) =>
      askEach(clusters, describeShard, async (cluster) => {
        // Safe to repeat: raising or disarming an alarm twice is the same as once.
        const options = optionsFor(call, true, cluster);
        return AlarmResponse.decode(await cluster.call(Maintenance.Alarm, bytes, options)).alarms;
      });
    const outcomes = await ask(shards);
    // A dedicated timeline host is called as the proxy itself, so only if a shard has let the client and none has refused.
    const refused = outcomes.some(({ error }) => error !== undefined && isDenied(error));
    if (!refused && outcomes.some(({ error }) => error === undefined)) {
      outcomes.push(...(await ask(this.dedicated)));
    }
    if (action === AlarmAction.GET) {
      for (const [i, cluster] of [...shards, ...this.dedicated].entries())
        this.log(cluster, outcomes[i]?.value);
    }
    const alarms = distinct(valuesOf(outcomes).flat());
    return Buffer.concat([identity.header(timeline.head), AlarmResponse.encode({ alarms })]);
  }

  /** Logs a cluster's alarms once for each change. The response has no field for the cluster's name. */
  private log(cluster: Alarmed, alarms: readonly AlarmMember[] | undefined): void {
    if (alarms === undefined) return;
    const text = alarms.map(describe).join(", ");
    if (text === (this.logged.get(cluster) ?? "")) return;
    this.logged.set(cluster, text);
    const { index, name } = cluster;
    const fields = index < 0 ? { cluster: name, alarms: text } : { shard: name, alarms: text };
    const kind = index < 0 ? "timeline host" : "shard";
    if (text === "") this.deps.log.info(fields, `the ${kind} has no alarms any more`);
    else this.deps.log.warn(fields, `the ${kind} has alarms`);
  }
}

function describe({ memberId, alarm }: AlarmMember): string {
  return `${NAMES[alarm] ?? alarm} of member ${memberId.toString(16)}`;
}

/** Alarms without duplicates: one that was raised through a proxy is on every cluster. */
function distinct(alarms: readonly AlarmMember[]): AlarmMember[] {
  return [...new Map(alarms.map((alarm) => [`${alarm.memberId}/${alarm.alarm}`, alarm])).values()];
}
