import type { Call } from "../../rpc/call.js";
import { isDenied } from "../../shard/access.js";
import { describeShard } from "../../shard/name.js";
import { Code, StatusError } from "../../status/error.js";
import { StatusResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { since36 } from "./newer.js";
import { lowest } from "./versions.js";

/** How long a backend may take, ms. etcdctl waits for 5 s, and the other backends' figures are worth something. */
const PATIENCE = 3_000;

/**
 * Status of the store as one member that leads: sizes summed, at the newest revision, with the errors of all shards by name.
 * What etcd tells since 3.6 is in `since36`. Backends that do not answer are among the errors. What each shard said last is remembered, so that figures neither fall nor vanish while a shard is down.
 */
export class StoreStatus {
  private readonly known: (StatusResponse | undefined)[];
  private raftIndex = 0;

  constructor(private readonly deps: MaintenanceDeps) {
    this.known = deps.shards.map(() => undefined);
  }

  async answer(call: Call): Promise<Uint8Array> {
    const { shards, timeline, identity } = this.deps;
    const [synced, ...asked] = await Promise.allSettled([
      inTime("the timeline host", timeline.sync()),
      ...shards.map((shard) =>
        inTime(describeShard(shard), shard.call(Maintenance.Status, EMPTY, optionsFor(call, true))),
      ),
    ]);
    const errors: string[] = [];
    asked.forEach((result, i) => {
      if (result.status === "rejected") {
        // Newer etcds tell only the role root.
        if (isDenied(StatusError.from(result.reason))) throw result.reason;
        errors.push(result.reason.message);
        return;
      }
      const status = StatusResponse.decode(result.value);
      this.known[i] = status;
      for (const error of status.errors) errors.push(`${describeShard(shards[i]!)}: ${error}`);
    });
    if (synced.status === "rejected") errors.push(`timeline: ${synced.reason.message}`);
    const known = this.known.filter((status) => status !== undefined);
    // A version that nobody knows cannot be answered, and clients decide by it.
    if (known.length === 0) throw new StatusError(Code.UNAVAILABLE, errors.join("; "));
    // The sum can fall when a shard is asked through another member, which may lag behind.
    this.raftIndex = Math.max(this.raftIndex, sum(known, "raftAppliedIndex"));
    const body = StatusResponse.encode({
      version: known.map((status) => status.version).reduce(lowest),
      dbSize: sum(known, "dbSize"),
      dbSizeInUse: sum(known, "dbSizeInUse"),
      leader: identity.memberId,
      raftIndex: this.raftIndex,
      raftAppliedIndex: this.raftIndex,
      raftTerm: Math.max(1, timeline.raftTerm),
      errors,
      ...since36(known),
    });
    return Buffer.concat([identity.header(timeline.head), body]);
  }
}

/** What `answer` resolves to; rejects when that takes longer than whoever asks for a status waits. */
async function inTime<T>(name: string, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new StatusError(Code.UNAVAILABLE, `${name}: no answer within ${PATIENCE} ms`);
    timer = setTimeout(() => reject(error), PATIENCE);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

function sum(all: readonly StatusResponse[], field: "dbSize" | "dbSizeInUse" | "raftAppliedIndex"): number {
  return all.reduce((total, status) => total + status[field], 0);
}
