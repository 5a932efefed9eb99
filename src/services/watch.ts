import type { Config } from "../config/types.js";
import type { Logger } from "../ops/log.js";
import type { StreamHandler } from "../rpc/call.js";
import { NONE, type Service } from "../rpc/service.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Tenants } from "../tenants/tenants.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import { Hub } from "../watch/hub.js";
import { Watch } from "../wire/paths.js";
import type { Identity } from "./identity.js";
import { WatchSession } from "./watch/session.js";

export interface WatchDeps {
  readonly timeline: Timeline;
  /** Guarded (`guardShard`). */
  readonly shards: ShardSet;
  readonly identity: Identity;
  readonly limits: WatchLimits;
  /** Undefined: no tenants. */
  readonly tenants?: Tenants | undefined;
  readonly log: Pick<Logger, "info" | "warn">;
  readonly runtime: Runtime;
}

/**
 * `streamBufferBytes` is in effect at least the transport's high-water mark. Beyond it a stream holds at most one more frame:
 * 1 MiB of events, or one revision.
 */
export type WatchLimits = Config["watch"];

export interface WatchService extends Service {
  /** Shared by all streams. For metrics. */
  readonly hub: Hub;
  /** The clients' open streams. */
  readonly sessions: ReadonlySet<WatchSession>;
}

/** etcd's Watch service over the shards. */
export function createWatch(deps: WatchDeps): WatchService {
  const { timeline, shards, log, limits, runtime } = deps;
  const hub = new Hub({ timeline, shards, log, runtime, historyBytes: limits.historyBytes });
  // One object for all streams. A spread for each stream would give each a separate hidden class.
  const sessions = new Set<WatchSession>();
  const sessionDeps = { ...deps, hub, sessions };
  const handler: StreamHandler = (stream) => {
    new WatchSession(sessionDeps, stream);
  };
  return { hub, sessions, unary: NONE, stream: new Map([[Watch.Watch, handler]]), stop: () => hub.close() };
}
