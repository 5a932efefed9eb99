import type { Placements } from "../timeline/view.js";

interface Placed {
  readonly home: number;
  /** The timeline's placements, and this lease's among them, when last looked at. */
  all: Placements;
  shards: ReadonlySet<number>;
  /** Shards besides the home, as last looked at. */
  readonly known: Set<number>;
  /** Those of `known` whose part may not have been granted yet. */
  readonly unproven: Set<number>;
  /** True when this proxy has logged a placement of this lease. */
  ours: boolean;
}

/** A lease that this proxy had placed and whose placements are gone from the timeline. */
export interface Vanished {
  readonly lease: bigint;
  /** Where it had parts besides its home. */
  readonly shards: readonly number[];
}

/**
 * What this proxy knows of the placed leases: where their parts are, and which of these may still lack their
 * grant. A placement is logged before its part is granted, so a part that is missing was either lost (the
 * lease must end) or never granted (its proxy is at it, or died: nothing is attached to it, and granting it
 * heals it). It counts as never granted only if this proxy has seen the placement appear, has looked at the
 * shard ever since, and has never found the part. Without that proof it is lost: a lease that ends too early
 * is everyday life with etcd, one that has lost keys and lives on lets two clients hold one lock.
 */
export class Parts {
  private readonly placed = new Map<bigint, Placed>();
  /** Vanished and not told yet, because the id has come back meanwhile. */
  private replaced: Vanished[] = [];
  private started = false;

  /** `placements` must be loaded: what it holds now counts as placed long ago. */
  constructor(
    private readonly placements: () => Placements,
    private readonly homeOf: (lease: bigint) => number,
  ) {
    this.refresh();
    this.started = true;
  }

  get size(): number {
    return this.placements().size;
  }

  isPlaced(lease: bigint): boolean {
    return this.placements().has(lease);
  }

  /** True when a lease has, or is about to have, its part on a shard as far as the timeline knows. */
  has(lease: bigint, shard: number): boolean {
    return this.placements().get(lease)?.has(shard) === true || this.homeOf(lease) === shard;
  }

  /** Stands for this lease as placed: another object when the id has come back since, undefined when it is not placed. */
  identify(lease: bigint): object | undefined {
    return this.follow(lease);
  }

  /** All shards that a lease needs, its home first. */
  shardsOf(lease: bigint): number[] {
    const home = this.homeOf(lease);
    const shards = [home];
    for (const shard of this.placements().get(lease) ?? []) if (shard !== home) shards.push(shard);
    return shards;
  }

  /** Placed leases that need this shard, as of the last `refresh`. */
  on(shard: number): bigint[] {
    const leases: bigint[] = [];
    for (const [lease, { home, known }] of this.placed) {
      if (home === shard || known.has(shard)) leases.push(lease);
    }
    return leases;
  }

  /** A shard has answered that it has its part of a lease. */
  sawAlive(lease: bigint, shard: number): void {
    this.follow(lease)?.unproven.delete(shard);
  }

  /** Nobody has looked at a shard for a while: what was placed there may have come and gone. */
  blind(shard: number): void {
    for (const { unproven } of this.placed.values()) unproven.delete(shard);
  }

  /** Of a part that is missing: true when it has not been granted yet, false when it counts as lost. */
  mayLackGrant(lease: bigint, shard: number): boolean {
    return this.follow(lease)?.unproven.has(shard) === true;
  }

  /** This proxy has logged a placement of the lease. */
  placedHere(lease: bigint): void {
    const placed = this.follow(lease);
    if (placed !== undefined) placed.ours = true;
  }

  /** The lease has ended here; if its id comes back, it is another lease. */
  forget(lease: bigint): void {
    this.placed.delete(lease);
  }

  /** Follows the timeline. Returns the leases placed by this proxy that have vanished from it. */
  refresh(): Vanished[] {
    const placements = this.placements();
    for (const lease of placements.keys()) this.follow(lease);
    const vanished = this.replaced;
    this.replaced = [];
    if (this.placed.size === placements.size) return vanished;
    for (const [lease, { ours, known }] of this.placed) {
      if (placements.has(lease)) continue;
      this.placed.delete(lease);
      if (ours) vanished.push({ lease, shards: [...known] });
    }
    return vanished;
  }

  private follow(lease: bigint): Placed | undefined {
    const all = this.placements();
    const shards = all.get(lease);
    if (shards === undefined) return undefined;
    let placed = this.placed.get(lease);
    if (placed !== undefined && isAnother(placed, all, shards)) {
      if (placed.ours) this.replaced.push({ lease, shards: [...placed.known] });
      placed = undefined;
    }
    if (placed === undefined) {
      placed = { home: this.homeOf(lease), all, shards, known: new Set(), unproven: new Set(), ours: false };
      this.placed.set(lease, placed);
    }
    placed.all = all;
    placed.shards = shards;
    if (placed.known.size === shards.size) return placed;
    for (const shard of shards) {
      if (shard === placed.home || placed.known.has(shard)) continue;
      placed.known.add(shard);
      if (this.started) placed.unproven.add(shard);
    }
    return placed;
  }
}

/**
 * True when these placements of a lease are not those that were followed: it has ended, and its id was granted again.
 * The timeline adds to the same set until then. After it was loaded anew, all sets are new and only what is missing tells.
 */
function isAnother(placed: Placed, all: Placements, shards: ReadonlySet<number>): boolean {
  if (placed.shards === shards) return false;
  if (placed.all === all) return true;
  for (const shard of placed.known) if (!shards.has(shard)) return true;
  return false;
}
