import type { Logger } from "../../ops/log.js";
import type { Call, UnaryHandler } from "../../rpc/call.js";
import type { CallOptions, Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import type { Timeline } from "../../timeline/view.js";
import type { CompactionTimeline } from "../../watch/compaction.js";
import type { Identity } from "../identity.js";

/** One backend cluster, with access to each of its members. */
export interface Backend {
  /** Index of the shard, or -1 for a dedicated timeline host. */
  readonly index: number;
  /** The name in errors and the log, such as `shard "a"`. */
  readonly name: string;
  /** As configured, at least one. */
  readonly endpoints: readonly string[];
  /** Opens a connection to one endpoint, or by default to any. The caller closes it. */
  open(endpoint?: string): Pick<Shard, "call" | "close">;
}

export interface MaintenanceDeps {
  readonly shards: ShardSet;
  /** Returns the shards in index order, then a dedicated timeline host. */
  backends(): readonly Backend[];
  readonly timeline: Pick<Timeline, "head" | "sync" | "raftTerm"> & CompactionTimeline;
  /** The handler of KV.Range for clients. */
  readonly range: UnaryHandler;
  readonly identity: Identity;
  /** The timeline host, a shard or a dedicated cluster. */
  readonly host: Pick<Shard, "index" | "name" | "call" | "stream">;
  readonly log: Pick<Logger, "info" | "warn">;
}

/** Runs `use` with a connection (see `Backend.open`), and closes it afterwards. */
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
 * Options of a call that is made for a client, with the client's deadline and identity. A dedicated timeline host (`index`
 * -1) does not have the store's users, so the proxy calls it as itself.
 */
export function optionsFor(call: Call, idempotent: boolean, { index } = { index: 0 }): CallOptions {
  return { idempotent, deadline: call.deadline, caller: index < 0 ? undefined : call.caller };
}
