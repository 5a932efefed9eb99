import type { Logger } from "../ops/log.js";
import type { ShardSet } from "../shard/shardSet.js";
import type { Timeline } from "../timeline/view.js";
import type { Runtime } from "../turn/runtime.js";
import type { Homes } from "./homes.js";
import type { LeaseCalls } from "./leaseCalls.js";
import type { Parts } from "./parts.js";

/** What the classes that make up `Leases` share. */
export interface LeaseDeps {
  readonly shards: ShardSet;
  readonly homes: Homes;
  readonly timeline: Timeline;
  readonly calls: LeaseCalls;
  readonly parts: Parts;
  readonly log: Pick<Logger, "warn">;
  readonly runtime: Runtime;
}
