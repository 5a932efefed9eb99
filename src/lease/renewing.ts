import { isDenied } from "../shard/access.js";
import type { Caller } from "../shard/caller.js";
import type { StatusError } from "../status/error.js";
import type { CallerStreams } from "./callerStreams.js";
import type { Endings } from "./endings.js";
import type { Homes } from "./homes.js";
import type { Parts } from "./parts.js";
import type { Placing } from "./placing.js";
import type { RenewalEnds } from "./renewalEnds.js";
import type { Renewed } from "./renewalStream.js";

/** Renews all parts of a lease over the caller's streams to the shards. */
export class Renewing {
  constructor(
    private readonly streams: Pick<CallerStreams, "of">,
    private readonly homes: Pick<Homes, "catchUp">,
    private readonly parts: Parts,
    private readonly placing: Placing,
    private readonly endings: Endings,
    private readonly ends: Pick<RenewalEnds, "read">,
  ) {}

  /**
   * Renews all parts of a lease that were placed before this call. Passes `done` the smallest TTL in seconds, or 0 if the lease is
   * dead and its keys are gone from all shards that can be reached. Passes it the shard's refusal if the caller may not renew the
   * lease there, and UNAVAILABLE with the name of the shard if a shard of the lease does not respond.
   */
  renew(lease: bigint, done: Renewed, caller?: Caller): void {
    void this.ends.read().then(() => this.renewParts(lease, done, caller));
  }

  private renewParts(lease: bigint, done: Renewed, caller?: Caller): void {
    const isEnding = this.endings.isEnding(lease);
    // A client's permission is checked first.
    if (isEnding && caller === undefined) {
      this.bury(lease, done);
      return;
    }
    const streams = this.streams.of(caller);
    const shards = this.parts.shardsOf(lease);
    let open = shards.length;
    let smallest = Number.POSITIVE_INFINITY;
    let failure: StatusError | undefined;
    let refusal: StatusError | undefined;
    const missing: number[] = [];
    for (const shard of shards) {
      streams.at(shard).renew(lease, (error, ttl) => {
        if (error !== undefined && isDenied(error)) refusal = error;
        else if (error !== undefined) failure = error;
        else if (ttl === 0) missing.push(shard);
        else {
          smallest = Math.min(smallest, ttl);
          if (shards.length > 1) this.parts.sawAlive(lease, shard);
        }
        if (--open > 0) return;
        if (refusal !== undefined) done(refusal, 0);
        else if (isEnding) this.bury(lease, done);
        else if (missing.length > 0) {
          this.homes.catchUp().then(
            // A plan of which this proxy had not read may have given the lease another home.
            () =>
              shards[0] === this.parts.shardsOf(lease)[0]
                ? this.judge(lease, missing, smallest, failure, done)
                : this.renewParts(lease, done, caller),
            (error: StatusError) => done(error, 0),
          );
        } else if (failure !== undefined) done(failure, 0);
        else done(undefined, smallest);
      });
    }
  }

  /** Decides about a lease with missing parts. It is dead unless none of them has been granted yet. */
  private judge(
    lease: bigint,
    seemMissing: readonly number[],
    smallest: number,
    failure: StatusError | undefined,
    done: Renewed,
  ): void {
    const missing = seemMissing.filter((shard) => this.parts.has(lease, shard));
    if (missing.length > 0 && !this.parts.isPlaced(lease) && !this.endings.isEnding(lease)) {
      done(undefined, 0);
      return;
    }
    Promise.all(missing.map((shard) => this.placing.heal(lease, shard))).then(
      (healed) => {
        if (healed.includes(false)) done(undefined, 0);
        else if (failure !== undefined) done(failure, 0);
        else done(undefined, Number.isFinite(smallest) ? smallest : 0);
      },
      (error: StatusError) => done(error, 0),
    );
  }

  private bury(lease: bigint, done: Renewed): void {
    const dead = () => done(undefined, 0);
    this.endings.end(lease).then(dead, dead);
  }
}
