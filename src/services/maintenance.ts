import type { UnaryHandler } from "../server/transport.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import type { Timeline } from "../timeline/view.js";
import { StatusResponse } from "../wire/messages.js";
import { Maintenance } from "../wire/paths.js";
import { EMPTY, Reader } from "../wire/reader.js";
import { replaceHeader } from "../wire/rewrite.js";
import { fromAsync } from "./async.js";
import type { Identity } from "./identity.js";
import { notHere } from "./unimplemented.js";

export interface MaintenanceDeps {
  readonly shards: readonly Shard[];
  readonly timeline: Pick<Timeline, "head" | "sync" | "raftTerm">;
  readonly identity: Identity;
}

/** `AlarmRequest.action` GET. */
const ALARM_GET = 0;
const READ = { idempotent: true } as const;
const PER_SHARD = "it is done on each shard's etcd members, see the endpoints in shards.yaml";

/**
 * The Maintenance service: Status of the whole store, the list of all shards' alarms. What concerns a single
 * etcd member (defragmentation, snapshots, hashes, leaders) answers UNIMPLEMENTED and says where it is done.
 */
export function maintenanceHandlers(deps: MaintenanceDeps): Map<string, UnaryHandler> {
  const status = new StoreStatus(deps);
  const handlers = new Map<string, UnaryHandler>([
    [Maintenance.Status, fromAsync(() => status.answer())],
    [Maintenance.Alarm, fromAsync((_call, request) => alarms(deps, request))],
  ]);
  for (const path of Object.values(Maintenance)) {
    if (!handlers.has(path)) handlers.set(path, notHere(path, PER_SHARD));
  }
  return handlers;
}

/** Remembers what each shard said last, so that figures neither fall nor vanish while a shard is down. */
class StoreStatus {
  private readonly known: (StatusResponse | undefined)[];
  private raftIndex = 0;

  constructor(private readonly deps: MaintenanceDeps) {
    this.known = deps.shards.map(() => undefined);
  }

  async answer(): Promise<Uint8Array> {
    const { shards, timeline, identity } = this.deps;
    const [synced, ...asked] = await Promise.allSettled([
      timeline.sync(),
      ...shards.map((shard) => shard.call(Maintenance.Status, EMPTY, READ)),
    ]);
    const errors: string[] = [];
    asked.forEach((result, i) => {
      if (result.status === "rejected") {
        errors.push(result.reason.message);
        return;
      }
      const status = StatusResponse.decode(result.value);
      this.known[i] = status;
      for (const error of status.errors) errors.push(`shard "${shards[i]!.name}": ${error}`);
    });
    if (synced.status === "rejected") errors.push(`timeline: ${synced.reason.message}`);
    const known = this.known.filter((status) => status !== undefined);
    // A version that nobody knows cannot be answered, and clients decide by it.
    if (known.length === 0) throw new StatusError(Code.UNAVAILABLE, errors.join("; "));
    // The sum can fall when a shard is asked through another member, which may lag behind.
    this.raftIndex = Math.max(this.raftIndex, sum(known, "raftAppliedIndex"));
    const body = StatusResponse.encode({
      version: known.map((status) => status.version).reduce(lower),
      dbSize: sum(known, "dbSize"),
      dbSizeInUse: sum(known, "dbSizeInUse"),
      leader: identity.memberId,
      raftIndex: this.raftIndex,
      raftAppliedIndex: this.raftIndex,
      raftTerm: Math.max(1, timeline.raftTerm),
      errors,
    });
    return Buffer.concat([identity.header(timeline.head), body]);
  }
}

function sum(all: readonly StatusResponse[], field: "dbSize" | "dbSizeInUse" | "raftAppliedIndex"): number {
  return all.reduce((total, status) => total + status[field], 0);
}

/** The lower of two versions such as "3.4.23", compared number by number. */
function lower(a: string, b: string): string {
  const left = a.split(/[.+-]/).map(Number);
  const right = b.split(/[.+-]/).map(Number);
  for (let i = 0; i < 3; i++) {
    if (left[i] !== right[i]) return left[i]! < right[i]! ? a : b;
  }
  return a;
}

async function alarms(
  { shards, timeline, identity }: MaintenanceDeps,
  request: Uint8Array,
): Promise<Uint8Array> {
  if (alarmAction(request) !== ALARM_GET) {
    throw new StatusError(
      Code.UNIMPLEMENTED,
      `etcd-braid: raising and disarming alarms is not available through the proxy: ${PER_SHARD}`,
    );
  }
  const answers = await Promise.all(shards.map((shard) => shard.call(Maintenance.Alarm, request, READ)));
  // Messages put one after the other are one message with all their repeated fields.
  const lists = answers.map((answer) => replaceHeader(answer, EMPTY));
  return Buffer.concat([identity.header(timeline.head), ...lists]);
}

function alarmAction(request: Uint8Array): number {
  const reader = new Reader(request);
  let action = ALARM_GET;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 0x08) action = reader.int32();
    else reader.skip(tag, 1);
  }
  return action;
}
