import type { ShardSet } from "../shard/shardSet.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import type { LeaseDeps } from "./deps.js";
import type { Endings } from "./endings.js";

/** Attempts to place a part while other clients keep ending leases with the same id. */
const MAX_ATTEMPTS = 3;

/** How long a proxy may take from a placement to the part's grant before another one, which cannot tell, ends the lease. */
const GRANT_WAIT_MS = 2_000;

/** State of a part: it is there, or it was never granted as far as is known, or it was lost. */
export type Finding = "there" | "ungranted" | "lost";

/**
 * Gives leases their parts: logs the placement, grants the part, and then checks the home again. Without this last check
 * a part could outlive its lease unnoticed. A proxy that ends the lease reads the log after the home is gone. So either it
 * finds the placement there, or the last check finds no home.
 */
export class Placing {
  /** Number of parts granted, since the start. */
  granted = 0;
  /** Placements under way, by shard and lease. Callers share the promise. */
  private readonly underWay: ShardSet<Map<bigint, Promise<void>>>;

  constructor(
    private readonly deps: LeaseDeps,
    private readonly endings: Endings,
  ) {
    this.underWay = deps.shards.map(() => new Map());
  }

  /** True if a put under the lease may be sent to the shard at once. */
  isPlaced(lease: bigint, shard: number): boolean {
    const { homes } = this.deps;
    if (homes.of(lease) === shard) return true; // the home itself checks that it has the lease
    if (!homes.isInUse(shard)) return true; // gen makes the shard refuse the put
    return (
      this.deps.parts.has(lease, shard) && !this.isUnderWay(lease, shard) && !this.endings.isEnding(lease)
    );
  }

  /**
   * Gives the lease a part on the shard if it has none. Rejects with `leaseNotFound`, or with UNAVAILABLE and the name of the
   * shard.
   */
  async ensurePlaced(lease: bigint, shard: number): Promise<void> {
    if (this.isPlaced(lease, shard)) return;
    if (this.endings.isEnding(lease)) throw etcd.leaseNotFound();
    await this.placeOnce(lease, shard);
  }

  /**
   * To be called when a shard has refused a write because it lacks a lease: this one or another one that the write names.
   * Resolves if the write may be sent again. Rejects with `leaseNotFound` if this lease is dead, after its other parts were
   * ended.
   */
  async repair(lease: bigint, shard: number): Promise<void> {
    if (this.endings.isEnding(lease)) throw etcd.leaseNotFound();
    if (this.deps.homes.position > 0) await this.deps.homes.catchUp();
    if ((await this.deps.calls.look(shard, lease)) !== undefined) return;
    if (!(await this.heal(lease, shard))) throw etcd.leaseNotFound();
  }

  /**
   * To be called when the home or a part of a lease seemed to be missing. Resolves to true if the lease lives on: the part
   * is there after all, or had not been granted yet and now is. Resolves to false if the lease has ended; then all its parts
   * have been ended, or will be. Rejects if a shard cannot be reached.
   */
  async heal(lease: bigint, shard: number): Promise<boolean> {
    if (!this.endings.isEnding(lease)) return this.act(lease, shard, await this.examine(lease, shard));
    if (this.deps.parts.isPlaced(lease)) await this.finish(lease);
    return false;
  }

  /**
   * Returns the state of a part. Decides first if the part may lack its grant and then reads the shard: between a read and
   * a later decision, the part could be granted and found by others. `deadline` is in milliseconds since the epoch.
   */
  async examine(lease: bigint, shard: number, deadline?: number): Promise<Finding> {
    const ungranted = this.mayLackGrant(lease, shard);
    if ((await this.deps.calls.look(shard, lease, false, { deadline })) === undefined) {
      return ungranted ? "ungranted" : "lost";
    }
    this.deps.parts.sawAlive(lease, shard);
    return "there";
  }

  /** Does what a finding requires. Returns what `heal` returns. */
  async act(lease: bigint, shard: number, finding: Finding): Promise<boolean> {
    if (finding === "there") return true;
    if (finding === "lost") return this.bury(lease, shard);
    if (!this.mayLackGrant(lease, shard)) return true; // it was granted in the meantime
    try {
      await this.placeOnce(lease, shard);
      return true;
    } catch (error) {
      if (error instanceof StatusError && error.code === Code.NOT_FOUND) return false;
      throw error;
    }
  }

  /**
   * To be called when a placement of this proxy has vanished from the timeline. Usually the lease has ended. But a proxy
   * that was late to end an earlier lease with the same id may have removed the placement; then it is restored.
   */
  async restore(lease: bigint, shards: readonly number[]): Promise<void> {
    try {
      if ((await this.deps.calls.look(this.deps.homes.of(lease), lease)) === undefined) return;
      for (const shard of shards) await this.ensurePlaced(lease, shard);
    } catch (error) {
      const { message } = StatusError.from(error);
      this.deps.log.warn(
        { lease: lease.toString() },
        `the placements of a lease could not be restored: ${message}`,
      );
    }
  }

  /** True if a missing part may not have been granted yet. */
  private mayLackGrant(lease: bigint, shard: number): boolean {
    if (shard === this.deps.homes.of(lease)) return false;
    return (
      this.isUnderWay(lease, shard) ||
      !this.deps.parts.has(lease, shard) ||
      this.deps.parts.mayLackGrant(lease, shard)
    );
  }

  private isUnderWay(lease: bigint, shard: number): boolean {
    return this.underWay.at(shard).has(lease);
  }

  /** Places the lease, or joins the placement under way. */
  private placeOnce(lease: bigint, shard: number): Promise<void> {
    const placing = this.underWay.at(shard);
    let done = placing.get(lease);
    if (done === undefined) {
      done = this.place(lease, shard).finally(() => placing.delete(lease));
      placing.set(lease, done);
    }
    return done;
  }

  private async place(lease: bigint, shard: number): Promise<void> {
    const { homes } = this.deps;
    let begun = this.deps.parts.isPlaced(lease);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (!homes.isInUse(shard)) return; // a plan has removed the shard
      const home = homes.of(lease);
      // Checks the shard and the timeline host first: a placement is logged only where the part can be granted now.
      const [found] = await Promise.all([
        this.deps.calls.look(home, lease),
        this.deps.calls.look(shard, lease),
        this.deps.timeline.beginWrite(true),
      ]);
      if (homes.of(lease) !== home) continue; // a plan has ended
      if (found === undefined) break;
      if (!this.deps.parts.has(lease, shard)) await this.deps.timeline.place(lease, shard);
      this.deps.parts.placedHere(lease);
      begun = true;
      const granted = await this.grant(lease, shard, found.grantedTtl);
      const [homeNow] = await Promise.all([this.deps.calls.look(home, lease), this.deps.timeline.sync()]);
      if (homes.of(lease) !== home) continue;
      if (homeNow === undefined) break;
      if (!granted || !this.deps.parts.has(lease, shard)) continue;
      this.deps.parts.sawAlive(lease, shard);
      return;
    }
    if (begun) this.endings.endInBackground(lease, [shard]);
    throw etcd.leaseNotFound();
  }

  /** Grants a part. Resolves to true if the shard has it, granted by this proxy or by another. */
  private async grant(lease: bigint, shard: number, ttl: number): Promise<boolean> {
    try {
      await this.deps.calls.grant(shard, lease, ttl);
      this.granted++;
      return true;
    } catch (error) {
      if (!etcd.leaseExists.is(error)) throw error;
      const { calls, runtime } = this.deps;
      const part = await calls.look(shard, lease);
      if (part === undefined) return false;
      // It may be left from before a plan removed the shard, and nobody has renewed it since.
      if (part.grantedTtl >= ttl) return calls.renew(shard, lease, runtime);
      // It is left from an earlier lease with the same id, and would end too early.
      await calls.revoke(shard, lease);
      return false;
    }
  }

  /**
   * Ends a lease of which a part was lost. Returns true if the part was not lost: another proxy was about to grant it, or this
   * proxy had not read that a plan has ended and the lease needs no part there any more.
   */
  private async bury(lease: bigint, shard: number): Promise<boolean> {
    const { homes, parts, runtime } = this.deps;
    const placed = parts.identify(lease);
    if (parts.isDoubtful(lease, shard)) {
      await new Promise<void>((resolve) => runtime.timer(GRANT_WAIT_MS, resolve));
      if ((await this.examine(lease, shard)) === "there") return this.isAlive(lease);
      parts.settle(lease, shard);
    }
    await homes.catchUp();
    if (!parts.has(lease, shard)) return this.isAlive(lease);
    // In the meantime, the lease may have ended and its id may have been granted again.
    if (placed !== undefined && parts.identify(lease) === placed) await this.finish(lease);
    return false;
  }

  private async isAlive(lease: bigint): Promise<boolean> {
    return (await this.deps.calls.look(this.deps.homes.of(lease), lease)) !== undefined;
  }

  private async finish(lease: bigint): Promise<void> {
    // If this fails, the reason is logged. The lease is dead anyway.
    await this.endings.end(lease).catch(() => undefined);
  }
}
