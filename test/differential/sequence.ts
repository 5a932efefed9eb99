import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRouter } from "../../src/routing/create.js";
import { DEFAULT_RULES } from "../../src/routing/map.js";
import type { Router } from "../../src/routing/router.js";
import { Planner } from "../concurrent/planner.js";
import { SMALL_STEPS } from "../concurrent/small.js";
import { Random } from "../kv/model.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";
import { Generator } from "./generate.js";
import { type Op, printOps, show } from "./ops.js";
import { Pair } from "./pair.js";

const SHARDS = 3;
/** In a sequence with plans: all that plans may use, and operations from one to the next. */
const POSSIBLE_SHARDS = 5;
const PLAN_INTERVAL = 25;

export interface SequenceOptions {
  readonly seed: number;
  readonly operations: number;
  /** True keeps the timeline on an etcd of its own, false on the first shard. */
  readonly dedicatedHost: boolean;
  /** By default three. A store of one shard has no entries in its log. */
  readonly shards?: number;
  /** With more than one the client changes between them, and now and then one is restarted. */
  readonly proxies: number;
  /** True leaves the proxies no memory for recent events, so that watches of the past read them from the shards. */
  readonly forgetful: boolean;
  /** True: now and then keys move between up to five shards. Requires a timeline host of its own. */
  readonly plans?: boolean;
  /** Operations to run instead of random ones. */
  readonly replay?: readonly Op[] | undefined;
}

/**
 * Runs random operations against a fresh etcd and a fresh store. Rejects at the first difference,
 * with the seed, the step, the operation and both answers.
 */
export async function runSequence(options: SequenceOptions): Promise<ReadonlyMap<string, number>> {
  const log: Op[] = [];
  const bench = await Bench.start(options);
  try {
    const { pair } = bench;
    await pair.recordHistory();
    const generator = new Generator(new Random(options.seed), bench.router);
    const run = async (op: Op) => {
      log.push(op);
      await pair.run(op);
    };
    for (const op of options.replay ?? []) await run(op);
    while (!options.replay && log.length < options.operations) {
      if (options.plans && log.length % PLAN_INTERVAL === PLAN_INTERVAL - 1) await run({ kind: "plan" });
      else await run(generator.next(pair));
    }
    // Whatever came too much comes before the answers to these.
    for (const [stream, ids] of pair.watchers.entries()) {
      for (const watchId of ids) await run({ kind: "cancel", stream, watchId });
    }
    await run({ kind: "settle" });
    if (bench.planner) pair.counts.set("plans with a new map", bench.planner.ended);
    return pair.counts;
  } catch (reason) {
    const file = join(tmpdir(), `braid-differential-${options.seed}.jsonl`);
    writeFileSync(file, printOps(log));
    const step = `SEED=${options.seed}, step ${log.length}: ${show(log.at(-1))}`;
    const proxyLog = bench.store.proxies[0].logs().split("\n").slice(-20).join("\n");
    const { message } = reason as Error;
    const plans = bench.planner?.done.slice(-10).join("\n") ?? "";
    throw new Error(
      `${step}\n${message}\nall operations: ${file}\nlast of the proxy's log:\n${proxyLog}\n${plans}`,
    );
  } finally {
    await bench.remove();
  }
}

/** A plain etcd and a store, fresh, and a client of both. */
export class Bench {
  private constructor(
    readonly plain: EtcdProcess,
    readonly store: TestStore,
    readonly router: Router,
    readonly pair: Pair,
    readonly planner: Planner | undefined,
    private readonly others: readonly EtcdProcess[],
  ) {}

  static async start({
    seed = 1,
    dedicatedHost = false,
    shards = SHARDS,
    proxies = 1,
    forgetful = false,
    plans = false,
    /** Groups that plans may pin. */
    groups = ["/registry/", "foo", "lock/"] as readonly string[],
  } = {}): Promise<Bench> {
    const [plain, host, etcds] = await Promise.all([
      startEtcd(),
      dedicatedHost ? startEtcd() : undefined,
      startEtcds(plans ? POSSIBLE_SHARDS : shards),
    ]);
    const config = {
      ...(host && { timeline: { endpoints: [host.endpoint] } }),
      ...(forgetful && { watch: { historyBytes: 1 } }),
    };
    const backends = etcds.slice(0, shards);
    const store = await startStore({ backends, config, proxies, env: plans ? SMALL_STEPS : {} });
    const planner = plans
      ? await Planner.open({
          etcds,
          isHost: !dedicatedHost,
          proxies: store.proxies,
          groups,
          keys: [],
          random: new Random(seed + 1),
        })
      : undefined;
    const router =
      planner?.router ??
      (await createRouter({
        shards: store.shards.map((_, i) => ({ name: `shard${i}`, weight: 1 })),
        rules: DEFAULT_RULES,
      }));
    const pair = new Pair(plain.endpoint, store, router, () => planner?.runOne() ?? Promise.resolve());
    return new Bench(plain, store, router, pair, planner, [...etcds, ...(host ? [host] : [])]);
  }

  async remove(): Promise<void> {
    this.pair.close();
    this.planner?.close();
    await this.store.remove();
    await Promise.all([this.plain, ...this.others].map((etcd) => etcd.remove()));
  }
}
