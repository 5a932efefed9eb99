import type { Call } from "../../server/transport.js";
import { Code, StatusError } from "../../status/error.js";
import { AlarmAction, type AlarmMember, AlarmRequest, AlarmResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { answersOf, everywhere } from "./everywhere.js";

/** etcd's names of its alarms, by number. */
const NAMES = ["NONE", "NOSPACE", "CORRUPT"];

/**
 * Alarms of the store: those of all shards. To raise or to disarm one goes to every shard, because on etcd, too, the
 * alarm of any member holds for the whole; a shard that does not have the alarm that is disarmed changes nothing.
 */
export class Alarms {
  /** What the log was told last, by shard. */
  private readonly told: string[];

  constructor(private readonly deps: MaintenanceDeps) {
    this.told = deps.shards.map(() => "");
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
    // Raised or disarmed twice is as good as once.
    const options = optionsFor(call, true);
    const outcomes = await everywhere(
      shards,
      ({ name }) => `shard "${name}"`,
      async (shard) => AlarmResponse.decode(await shard.call(Maintenance.Alarm, bytes, options)).alarms,
    );
    outcomes.forEach(({ value }, shard) => {
      if (action === AlarmAction.GET && value !== undefined) this.tell(shard, value);
    });
    const alarms = distinct(answersOf(outcomes).flat());
    return Buffer.concat([identity.header(timeline.head), AlarmResponse.encode({ alarms })]);
  }

  /** The answer has no room for the shards' names: the log tells them, once for each change. */
  private tell(shard: number, alarms: readonly AlarmMember[]): void {
    const text = alarms.map(describe).join(", ");
    if (text === this.told[shard]) return;
    this.told[shard] = text;
    const fields = { shard: this.deps.shards[shard]!.name, alarms: text };
    if (text === "") this.deps.log.info(fields, "the shard has no alarm any more");
    else this.deps.log.warn(fields, "the shard has alarms");
  }
}

function describe({ memberId, alarm }: AlarmMember): string {
  return `${NAMES[alarm] ?? alarm} of member ${memberId.toString(16)}`;
}

/** One that was raised through a proxy is on every shard; it counts once. */
function distinct(alarms: readonly AlarmMember[]): AlarmMember[] {
  return [...new Map(alarms.map((alarm) => [`${alarm.memberId}/${alarm.alarm}`, alarm])).values()];
}
