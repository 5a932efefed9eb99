import type { Placements } from "../timeline/view.js";
import type { Homes } from "./homes.js";

interface Placed {
  home: number;
  /** Position of the newest change of the placement, as of the last check. */
  position: number;
  /** The timeline's placements, and this lease's among them, as of the last check. */
  all: Placements;
  shards: ReadonlySet<number>;
  /** Shards where the timeline places it, as of the last check. */
  readonly known: Set<number>;
  /** Shards in `known` whose part may not have been granted yet. */
  readonly unproven: Set<number>;
  /** Shards in `known` whose part may not have been granted yet, or may have come and gone unnoticed. */
  readonly doubtful: Set<number>;
  /** True if this proxy has logged a placement of this lease. */
  ours: boolean;
}

/** A lease that this proxy placed and whose placements have disappeared from the timeline. */
export interface Vanished {
  readonly lease: bigint;
  /** Shards where it was placed. */
  readonly shards: readonly number[];
}

/**
 * What this proxy knows about placed leases: where their parts are, and which parts may not have been granted yet.
 *
 * A placement is logged before its part is granted. So a missing part was either lost, and the lease must end, or never
 * granted, because its proxy is still at work or has died. In the second case nothing is attached to the part, and a
 * grant repairs the lease. A part counts as never granted only if this proxy saw the placement appear, has checked the
 * shard ever since and has never found the part. Otherwise it counts as lost, after some time in which its proxy can grant it
 * if the shard was not checked for a moment. Clients of etcd expect that a lease can
 * end early, but a lease that lives on after it lost keys lets two clients hold one lock.
 */
export class Parts {
  private readonly placed = new Map<bigint, Placed>();
  /** Vanished leases that `refresh` has not returned yet, because their id was granted again. */
  private replaced: Vanished[] = [];
  private started = false;

  /** `placements` must be loaded. The parts that it lists now count as granted long ago. */
  constructor(
    private readonly placements: () => Placements,
    private readonly homes: Pick<Homes, "of" | "hasLeftSince" | "position">,
  ) {
    this.refresh();
    this.started = true;
  }

  /** Number of placed leases. */
  get size(): number {
    return this.placements().size;
  }

  isPlaced(lease: bigint): boolean {
    return this.placements().has(lease);
  }

  /** True if, as far as the timeline knows, the lease has its part on the shard or is about to get it. */
  has(lease: bigint, shard: number): boolean {
    return this.placements().get(lease)?.has(shard) === true || this.homes.of(lease) === shard;
  }

  /**
   * Identifies this lease among all that have had its id: the object differs once the id has been granted again. Undefined
   * if the lease is not placed.
   */
  identify(lease: bigint): object | undefined {
    return this.follow(lease);
  }

  /** All shards of a lease, its home first. */
  shardsOf(lease: bigint): number[] {
    const home = this.homes.of(lease);
    const shards = [home];
    for (const shard of this.placements().get(lease) ?? []) if (shard !== home) shards.push(shard);
    return shards;
  }

  /** Placed leases that have a part on this shard, as of the last `refresh`. */
  on(shard: number): bigint[] {
    const leases: bigint[] = [];
    for (const [lease, { home, known }] of this.placed) {
      if (home === shard || known.has(shard)) leases.push(lease);
    }
    return leases;
  }

  /** To be called when a shard has reported its part of a lease. */
  sawAlive(lease: bigint, shard: number): void {
    this.settle(lease, shard);
  }

  /** To be called when a shard was not checked for a while. Parts may have come and gone there unnoticed. */
  blind(shard: number): void {
    for (const { unproven, doubtful } of this.placed.values())
      if (unproven.delete(shard)) doubtful.add(shard);
  }

  /** For a missing part that counts as lost: true if its grant may be under way, as its placement was seen while `blind`. */
  isDoubtful(lease: bigint, shard: number): boolean {
    return this.follow(lease)?.doubtful.has(shard) === true;
  }

  /** To be called when the part is no longer doubtful, because there was time to grant it. */
  settle(lease: bigint, shard: number): void {
    const placed = this.follow(lease);
    placed?.unproven.delete(shard);
    placed?.doubtful.delete(shard);
  }

  /** For a missing part: true if it may not have been granted yet, false if it counts as lost. */
  mayLackGrant(lease: bigint, shard: number): boolean {
    return this.follow(lease)?.unproven.has(shard) === true;
  }

  /** To be called when this proxy has logged a placement of the lease. */
  placedHere(lease: bigint): void {
    const placed = this.follow(lease);
    if (placed !== undefined) placed.ours = true;
  }

  /** To be called when the lease has ended. If its id is granted again, it is another lease. */
  forget(lease: bigint): void {
    this.placed.delete(lease);
  }

  /** Catches up with the timeline. Returns the leases placed by this proxy that have vanished since. */
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
    const { position } = this.homes;
    if (placed !== undefined && placed.position !== position) this.replan(lease, placed);
    if (placed !== undefined && isAnother(placed, all, shards)) {
      if (placed.ours) this.replaced.push({ lease, shards: [...placed.known] });
      placed = undefined;
    }
    if (placed === undefined) {
      const [known, unproven, doubtful] = [new Set<number>(), new Set<number>(), new Set<number>()];
      placed = { home: this.homes.of(lease), position, all, shards, known, unproven, doubtful, ours: false };
      this.placed.set(lease, placed);
    }
    placed.all = all;
    placed.shards = shards;
    if (placed.known.size === shards.size) return placed;
    for (const shard of shards) {
      if (placed.known.has(shard)) continue;
      placed.known.add(shard);
      // The home is placed, too, if a plan gives the lease another one. It was granted first.
      if (this.started && shard !== placed.home) placed.unproven.add(shard);
    }
    return placed;
  }

  /**
   * Follows changes of the placement. The end of a plan can give the lease another home, and ends parts on removed shards. Such a
   * shard may be back by now. Then the lease's part there is a new one, which need not be granted yet.
   */
  private replan(lease: bigint, placed: Placed): void {
    for (const shard of placed.known) {
      if (!this.homes.hasLeftSince(placed.position, shard)) continue;
      placed.known.delete(shard);
      placed.unproven.delete(shard);
      placed.doubtful.delete(shard);
    }
    placed.home = this.homes.of(lease);
    placed.position = this.homes.position;
  }
}

/**
 * True if these placements belong to a later lease with the same id. The timeline keeps one set for each lease and adds
 * to it. After the timeline has been reloaded all sets are new, and only a missing shard shows that the lease is another.
 */
function isAnother(placed: Placed, all: Placements, shards: ReadonlySet<number>): boolean {
  if (placed.shards === shards) return false;
  if (placed.all === all) return true;
  for (const shard of placed.known) if (!shards.has(shard)) return true;
  return false;
}
