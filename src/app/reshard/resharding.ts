import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Leases } from "../../lease/leases.js";
import type { Log } from "../../ops/log.js";
import type { Move, Plan } from "../../reshard/placement.js";
import type { Runtime } from "../../turn/runtime.js";
import type { Store } from "../store/store.js";
import { Candidate, type CandidateOptions } from "./candidate.js";
import { Retiring } from "./retiring.js";
import { ReshardStats } from "./stats.js";

export interface ReshardingOptions {
  readonly store: Store;
  readonly leases: Leases;
  /** False if another process of this proxy is the candidate for all. */
  readonly isCandidate: boolean;
  readonly limits: CandidateOptions["limits"];
  readonly runtime: Runtime;
  readonly log: Log;
}

/** How often shards are checked that could retire, in milliseconds. A move of the timeline host is no change of the placement. */
const RETIRE_MS = 10_000;

/** A proxy's part in plans: it follows them, moves keys if no other proxy does, and disconnects from removed shards. */
export class Resharding {
  readonly stats = new ReshardStats();
  private readonly candidate: Candidate | undefined;
  private readonly retiring: Retiring;
  private readonly endFollowing: () => void;
  private readonly endChecking: () => void;
  private position = -1;
  private moves: readonly Move[] = [];
  private plan: Plan | undefined;

  constructor(private readonly options: ReshardingOptions) {
    const { store, leases, isCandidate, limits, runtime, log } = options;
    const { timeline, shards, host, retireShard } = store;
    this.retiring = new Retiring({ timeline, shards, host, retireShard });
    const genKey = store.gen.key;
    // Without the key of gen, this proxy cannot write to shards at all.
    if (isCandidate && genKey !== undefined) {
      const proxy = `${hostname()}:${process.pid}/${randomBytes(4).toString("hex")}`;
      this.candidate = new Candidate({
        timeline,
        shards,
        host,
        genKey,
        prepareHomes: (plan, lost) => leases.prepareHomes(plan, lost),
        limits,
        proxy,
        stats: this.stats,
        runtime,
        log,
      });
    }
    this.endFollowing = timeline.onAdvance(() => this.follow());
    this.endChecking = runtime.interval(RETIRE_MS, () => this.retiring.check(), true);
    this.follow();
  }

  /** Ends moving keys: a frozen step is moved or thawed, and another proxy can go on at once. Never rejects. */
  async stop(): Promise<void> {
    this.endFollowing();
    this.endChecking();
    await this.candidate?.stop();
  }

  private follow(): void {
    const { placement, placementPosition } = this.options.store.timeline;
    // A compaction drops moves, and then shards may retire.
    if (placementPosition === this.position && placement.moves === this.moves) return;
    this.position = placementPosition;
    this.moves = placement.moves;
    this.announce(placement.plan);
    this.candidate?.follow();
    this.retiring.check();
  }

  private announce(plan: Plan | undefined): void {
    const { log } = this.options;
    const before = this.plan;
    this.plan = plan;
    if (plan?.number === before?.number) return;
    if (plan === undefined) log.info({ plan: before?.number }, "the plan is over, and its map is in force");
    else if (before === undefined)
      log.info({ plan: plan.number }, "a plan is active: keys move between shards");
    else
      log.info(
        { plan: plan.number, before: before.number },
        "another plan is active, or the plan turns back",
      );
  }
}
