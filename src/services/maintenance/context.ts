import type { Logger } from "../../ops/log.js";
import type { Call, UnaryHandler } from "../../rpc/call.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
import type { Timeline } from "../../timeline/view.js";
import type { CompactionTimeline } from "../../watch/compaction.js";
import type { Identity } from "../identity.js";

/** One backend cluster, with its members one by one. */
export interface Backend {
  /** Of the shard, or -1 for a timeline host of its own. */
  readonly index: number;
  /** As errors and the log call it: `shard "a"`. */
  readonly name: string;
  /** As configured, at least one. */
  readonly endpoints: readonly string[];
  /** A connection to one endpoint alone, or to whichever works. Whoever asks for it closes it. */
  open(endpoint?: string): Pick<Shard, "call" | "close">;
}

export interface MaintenanceDeps {
  readonly shards: readonly Shard[];
  /** The shards in their order, then the timeline host if it is a cluster of its own. */
  readonly backends: readonly Backend[];
  readonly timeline: Pick<Timeline, "head" | "sync" | "raftTerm"> & CompactionTimeline;
  /** KV.Range as clients are served it. */
  readonly range: UnaryHandler;
  readonly identity: Identity;
  /** The timeline host: one of the shards, or a cluster of its own. */
  readonly host: Pick<Shard, "call" | "stream">;
  /** Index of the shard that keeps the timeline log, or -1. */
  readonly hostShard: number;
  readonly log: Pick<Logger, "info" | "warn">;
}

/** Opens a connection (see `Backend.open`) for as long as `use` takes. */
export async function connected<T>(
  backend: Backend,
  endpoint: string | undefined,
  use: (connection: Pick<Shard, "call">) => Promise<T>,
): Promise<T> {
  const connection = backend.open(endpoint);
  try {
    return await use(connection);
  } finally {
    connection.close();
  }
}

/**
 * How a call made for a client goes to a backend: with the client's deadline and rights. The store's users are not
 * those of a timeline host of its own (`index` -1), so there the proxy itself asks.
 */
export function optionsFor(call: Call, idempotent: boolean, { index } = { index: 0 }): CallOptions {
  return { idempotent, deadline: call.deadline, caller: index < 0 ? undefined : call.caller };
}
