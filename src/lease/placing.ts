import type { Logger } from "../ops/log.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { Timeline } from "../timeline/view.js";
import type { LeaseCalls } from "./calls.js";
import type { Endings } from "./ending.js";
import type { Parts } from "./parts.js";

/** Rounds of placing against somebody who ends leases of the same id over and over. */
const ROUNDS = 3;

/** Of a part that was looked for: it is there, was never granted as far as can be known, or was and is gone. */
export type Finding = "there" | "ungranted" | "lost";

/**
 * Gives leases their parts: the placement is logged, then the part granted, then the home looked at again. With
 * that last look no part outlives its lease unnoticed: whoever ends the lease reads the log after the home's
 * part is gone, so either they see the placement or the last look sees no home.
 */
export class Placing {
  /** Parts granted, ever. */
  granted = 0;
  /** Placements under way: shard → lease → the promise that all who want it share. */
  private readonly underWay: Map<bigint, Promise<void>>[];

  constructor(
    private readonly calls: LeaseCalls,
    private readonly parts: Parts,
    private readonly endings: Endings,
    private readonly timeline: Timeline,
    private readonly homeOf: (lease: bigint) => number,
    private readonly log: Pick<Logger, "warn">,
    shardCount: number,
  ) {
    this.underWay = Array.from({ length: shardCount }, () => new Map());
  }

  /** True when a put under the lease may go to the shard without further ado. */
  isPlaced(lease: bigint, shard: number): boolean {
    if (this.homeOf(lease) === shard) return true; // the shard itself knows whether it has the lease
    return this.parts.has(lease, shard) && !this.underWay[shard].has(lease) && !this.endings.isEnding(lease);
  }

  /** Makes `isPlaced` true. Rejects with `leaseNotFound`, or UNAVAILABLE naming the shard. */
  async ensurePlaced(lease: bigint, shard: number): Promise<void> {
    if (this.isPlaced(lease, shard)) return;
    if (this.endings.isEnding(lease)) throw etcd.leaseNotFound();
    await this.placeOnce(lease, shard);
  }

  /**
   * A shard has refused a write because it lacks a lease, this one or another that the write names. Resolves when
   * the write may be sent again, rejects with `leaseNotFound` when the lease is dead; then its other parts are
   * ended too.
   */
  async repair(lease: bigint, shard: number): Promise<void> {
    if (this.endings.isEnding(lease)) throw etcd.leaseNotFound();
    if ((await this.calls.look(shard, lease)) !== undefined) return;
    if (!(await this.heal(lease, shard))) throw etcd.leaseNotFound();
  }

  /**
   * A part seemed to be missing (on a shard that the lease is placed on, or on its home). True when the lease lives
   * on: the part is there after all, or had only not been granted yet and now is. False when the lease has ended:
   * then all its parts have been ended, or will be. Rejects when a shard can not be reached.
   */
  async heal(lease: bigint, shard: number): Promise<boolean> {
    if (!this.endings.isEnding(lease)) return this.act(lease, shard, await this.examine(lease, shard));
    if (this.parts.isPlaced(lease)) await this.finish(lease);
    return false;
  }

  /**
   * What has become of a part. Looks only after it is known what to expect there: a part may be granted, and found by
   * others, between somebody's look and their conclusion.
   */
  async examine(lease: bigint, shard: number, deadline?: number): Promise<Finding> {
    const ungranted = this.mayLackGrant(lease, shard);
    if ((await this.calls.look(shard, lease, false, { deadline })) === undefined) {
      return ungranted ? "ungranted" : "lost";
    }
    this.parts.sawAlive(lease, shard);
    return "there";
  }

  /** Does, at once, what a finding calls for; answers as `heal` does. */
  async act(lease: bigint, shard: number, finding: Finding): Promise<boolean> {
    if (finding === "there") return true;
    if (finding === "lost") {
      if (this.parts.isPlaced(lease)) await this.finish(lease);
      return false;
    }
    if (!this.mayLackGrant(lease, shard)) return true; // it has come meanwhile
    try {
      await this.placeOnce(lease, shard);
      return true;
    } catch (error) {
      if (error instanceof StatusError && error.code === Code.NOT_FOUND) return false;
      throw error;
    }
  }

  /**
   * A placement of this proxy's own has vanished from the timeline. Usually because the lease has ended; but
   * a proxy that was late in ending an older lease of the same id may have taken it away. Then it is restored.
   */
  async restore(lease: bigint, shards: readonly number[]): Promise<void> {
    try {
      if ((await this.calls.look(this.homeOf(lease), lease)) === undefined) return;
      for (const shard of shards) await this.ensurePlaced(lease, shard);
    } catch (error) {
      const { message } = StatusError.from(error);
      this.log.warn({ lease: lease.toString() }, `a lease could not be looked after: ${message}`);
    }
  }

  /** Whether a part that is missing may be one that has not been granted yet. */
  private mayLackGrant(lease: bigint, shard: number): boolean {
    if (shard === this.homeOf(lease)) return false;
    return (
      this.underWay[shard].has(lease) ||
      !this.parts.has(lease, shard) ||
      this.parts.mayLackGrant(lease, shard)
    );
  }

  private placeOnce(lease: bigint, shard: number): Promise<void> {
    const placing = this.underWay[shard];
    let done = placing.get(lease);
    if (done === undefined) {
      done = this.place(lease, shard).finally(() => placing.delete(lease));
      placing.set(lease, done);
    }
    return done;
  }

  private async place(lease: bigint, shard: number): Promise<void> {
    const home = this.homeOf(lease);
    let begun = this.parts.isPlaced(lease);
    for (let round = 0; round < ROUNDS; round++) {
      // Looking at the shard and the host first spares the lease a placement where it can have no part now.
      const [found] = await Promise.all([
        this.calls.look(home, lease),
        this.calls.look(shard, lease),
        this.timeline.beginWrite(true),
      ]);
      if (found === undefined) break;
      if (!this.parts.has(lease, shard)) await this.timeline.place(lease, shard);
      this.parts.placedHere(lease);
      begun = true;
      const granted = await this.grant(lease, shard, found.grantedTtl);
      const [homeNow] = await Promise.all([this.calls.look(home, lease), this.timeline.sync()]);
      if (homeNow === undefined) break;
      if (!granted || !this.parts.has(lease, shard)) continue;
      this.parts.sawAlive(lease, shard);
      return;
    }
    if (begun) this.endings.endInBackground(lease, [shard]);
    throw etcd.leaseNotFound();
  }

  /** True when the shard has the part, granted now or by somebody else. */
  private async grant(lease: bigint, shard: number, ttl: number): Promise<boolean> {
    try {
      await this.calls.grant(shard, lease, ttl);
      this.granted++;
      return true;
    } catch (error) {
      if (!etcd.leaseExists.is(error)) throw error;
      return (await this.calls.look(shard, lease)) !== undefined;
    }
  }

  private async finish(lease: bigint): Promise<void> {
    // The reasons why it is not finished yet are logged, and the lease is dead all the same.
    await this.endings.end(lease).catch(() => undefined);
  }
}
