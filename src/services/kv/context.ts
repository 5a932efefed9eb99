import type { Logger } from "../../ops/log.js";
import type { Router } from "../../routing/router.js";
import type { Shard } from "../../shard/shard.js";
import type { ShardSet } from "../../shard/shardSet.js";
import type { Tenants } from "../../tenants/tenants.js";
import type { Timeline } from "../../timeline/view.js";
import type { ToRevision } from "../../wire/rewrite.js";
import type { Identity } from "../identity.js";
import { Gen, type GenKey } from "./gen.js";
import type { KvLimits } from "./limits.js";
import { LongRanges } from "./longRange.js";
import { Places } from "./places.js";
import { PointReads } from "./pointReads.js";
import { RecentWrites } from "./recentWrites.js";
import { ShardProbes } from "./shardProbes.js";

/** Keys of a lease on one shard. */
export interface LeasedKeys {
  readonly shard: number;
  readonly keys: readonly Uint8Array[];
}

/**
 * Makes a lease usable on the shards of its keys. A lease lives on its home shard. On any other shard it needs a part
 * there before a key can be put with it.
 */
export interface LeasePlacer {
  /** True when a put with `lease` may go to `shard` at once. Always true on the lease's home shard. */
  isPlaced(lease: bigint, shard: number): boolean;
  /** Resolves once the lease has a part on `shard`. Rejects with `leaseNotFound` when there is no such lease. */
  ensurePlaced(lease: bigint, shard: number): Promise<void>;
  /**
   * Grants the lease on `shard` again, where it is placed but unknown. Rejects with `leaseNotFound` when it is not
   * alive at home.
   */
  repair(lease: bigint, shard: number): Promise<void>;
  /** Whether the lease exists. Rejects with UNAVAILABLE if a shard that has a part of it cannot be reached. */
  exists(lease: bigint): Promise<boolean>;
  /** The lease's keys on shards other than `shard`. */
  keysElsewhere(lease: bigint, shard: number): Promise<readonly LeasedKeys[]>;
  /** The lease's keys on all shards, including `shard`. */
  keysOf(lease: bigint, shard: number): Promise<readonly LeasedKeys[]>;
}

export interface KvDeps {
  readonly router: Router;
  readonly timeline: Timeline;
  /** Guarded (`guardShard`). */
  readonly shards: ShardSet;
  readonly identity: Identity;
  readonly leases: LeasePlacer;
  readonly gen: GenKey;
  readonly limits: KvLimits;
  /** Undefined: no tenants. */
  readonly tenants?: Tenants | undefined;
  readonly log: Pick<Logger, "warn">;
}

/** What the KV handlers share. What takes the index of a shard throws `RangeError` where no shard has it. */
export interface KvContext extends Omit<KvDeps, "gen" | "tenants"> {
  /** What all writes compare. */
  readonly gen: Gen;
  shardAt(index: number): Shard;
  /** Turns sealed revisions of a shard into revisions, and the versions of its keys into those that clients see. */
  revisionsOf(shard: number): ToRevision;
  readonly places: Places;
  pointReadsOf(shard: number): PointReads;
  readonly probes: ShardProbes;
  readonly recentWrites: RecentWrites;
  readonly longRanges: LongRanges;
}

export function createContext(deps: KvDeps): KvContext {
  const { timeline, shards, limits } = deps;
  const places = new Places(timeline, limits);
  const toRevision = shards.map(
    (_, shard): ToRevision =>
      (revision) =>
        timeline.toRevision(shard, revision),
  );
  const withVersions = shards.map((_, shard) => withVersionsOf(timeline, shard));
  const pointReads = shards.map((shard) => new PointReads(shard, deps));
  const shardAt = (index: number) => shards.at(index);
  return {
    ...deps,
    gen: new Gen(deps.gen, timeline),
    shardAt,
    revisionsOf: (shard) => (places.hasImports(shard) ? withVersions : toRevision).at(shard),
    places,
    pointReadsOf: (shard) => pointReads.at(shard),
    probes: new ShardProbes(timeline, shardAt),
    recentWrites: new RecentWrites(),
    longRanges: new LongRanges(),
  };
}

function withVersionsOf(timeline: Timeline, shard: number): ToRevision {
  return Object.assign((revision: number) => timeline.toRevision(shard, revision), {
    versionOffset: (created: number) => timeline.versionOffset(shard, created),
  });
}
