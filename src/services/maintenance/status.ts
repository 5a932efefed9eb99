import type { Call } from "../../rpc/call.js";
import { isDenied } from "../../shard/access.js";
import { describeShard } from "../../shard/name.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { StatusResponse } from "../../wire/messages.js";
import { Maintenance } from "../../wire/paths.js";
import { EMPTY } from "../../wire/reader.js";
import { type MaintenanceDeps, optionsFor } from "./context.js";
import { since36 } from "./since36.js";
import { lowest } from "./versions.js";

/** How long a backend may take, in milliseconds. etcdctl gives up after 5 s, and should get the other backends' figures. */
const BACKEND_TIMEOUT_MS = 3_000;

/**
 * Status of the store as of one member that leads, at the newest revision. Sizes are summed. The errors name their shard,
 * and include backends that do not respond. The last status of each shard is remembered, so that figures neither
 * fall nor vanish while a shard is down.
 */
export class StoreStatus {
  /** The last status of each shard that has reported one. */
  private readonly known = new Map<Shard, StatusResponse>();
  private raftIndex = 0;

  constructor(private readonly deps: MaintenanceDeps) {}

  async answer(call: Call): Promise<Uint8Array> {
    const { timeline, identity } = this.deps;
    const shards = this.deps.shards.all();
    const [syncFailure, ...errorsByShard] = await Promise.all([
      inTime("the timeline host", timeline.sync()).then(
        () => undefined,
        (reason) => StatusError.from(reason),
      ),
      ...shards.map((shard) => this.ask(shard, call)),
    ]);
    const errors = errorsByShard.flat();
    if (syncFailure !== undefined) errors.push(`timeline: ${syncFailure.message}`);
    const known = shards.flatMap((shard) => this.known.get(shard) ?? []);
    // Clients depend on the version, so a status without one is an error.
    if (known.length === 0) throw new StatusError(Code.UNAVAILABLE, errors.join("; "));
    // The sum can fall when another member of a shard answers, which may lag behind.
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

  /** Updates the status of a shard. Resolves to its errors. Rejects when the shard refuses the client. */
  private async ask(shard: Shard, call: Call): Promise<readonly string[]> {
    const name = describeShard(shard);
    try {
      const response = await inTime(name, shard.call(Maintenance.Status, EMPTY, optionsFor(call, true)));
      const status = StatusResponse.decode(response);
      this.known.set(shard, status);
      return status.errors.map((error) => `${name}: ${error}`);
    } catch (reason) {
      const error = StatusError.from(reason);
      // Newer etcds require the role root.
      if (isDenied(error)) throw error;
      return [error.message];
    }
  }
}

/** Settles like `answer`. Rejects with UNAVAILABLE after `BACKEND_TIMEOUT_MS`. */
async function inTime<T>(name: string, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new StatusError(Code.UNAVAILABLE, `${name}: no answer within ${BACKEND_TIMEOUT_MS} ms`);
    timer = setTimeout(() => reject(error), BACKEND_TIMEOUT_MS);
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
