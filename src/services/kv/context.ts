import type { Logger } from "../../ops/log.js";
import type { Router } from "../../routing/router.js";
import type { Shard } from "../../shard/shard.js";
import type { Timeline } from "../../timeline/view.js";
import type { ToRevision } from "../../wire/rewrite.js";
import type { Identity } from "../identity.js";
import type { KvLimits } from "./limits.js";
import { PointReads } from "./pointReads.js";
import { Unrest } from "./unrest.js";
import { Unseen } from "./unseen.js";

/**
 * Makes leases usable on the shards of the keys that are bound to them. A lease lives on a home shard; on another
 * shard it needs a part of its own before a key there can be put with it.
 */
export interface LeasePlacer {
  /** True when a put with `lease` may go to `shard` at once (always on the lease's home shard). */
  isPlaced(lease: bigint, shard: number): boolean;
  /** Resolves once the lease has a part on `shard`. Rejects with `leaseNotFound` when there is no such lease. */
  ensurePlaced(lease: bigint, shard: number): Promise<void>;
  /**
   * `shard`, where the lease is placed, does not know it: grants it there again if it is alive at home. Rejects
   * with `leaseNotFound` when it is not.
   */
  repair(lease: bigint, shard: number): Promise<void>;
  /** The lease's keys on shards other than `shard`. */
  keysElsewhere(
    lease: bigint,
    shard: number,
  ): Promise<readonly { readonly shard: number; readonly keys: readonly Uint8Array[] }[]>;
}

export interface KvDeps {
  readonly router: Router;
  readonly timeline: Timeline;
  /** In configured order, guarded (`guardShard`). */
  readonly shards: readonly Shard[];
  readonly identity: Identity;
  readonly leases: LeasePlacer;
  readonly limits: KvLimits;
  readonly log: Pick<Logger, "warn">;
}

/** What the KV handlers share. */
export interface KvContext extends KvDeps {
  /** By shard: its sealed shard revisions → revisions. */
  readonly toRevision: readonly ToRevision[];
  /** By shard. */
  readonly pointReads: readonly PointReads[];
  readonly unseen: Unseen;
  readonly unrest: Unrest;
}

export function createContext(deps: KvDeps): KvContext {
  const { timeline, shards } = deps;
  const toRevision = shards.map((_, shard) => (revision: number) => timeline.toRevision(shard, revision));
  return {
    ...deps,
    toRevision,
    pointReads: shards.map((_, shard) => new PointReads(shard, deps)),
    unseen: new Unseen(timeline, shards),
    unrest: new Unrest(),
  };
}
