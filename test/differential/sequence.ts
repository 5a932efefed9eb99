import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRouter } from "../../src/routing/create.js";
import { DEFAULT_RULES } from "../../src/routing/map.js";
import type { Router } from "../../src/routing/router.js";
import { Random } from "../kv/model.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";
import { Generator } from "./generate.js";
import { type Op, printOps, show } from "./ops.js";
import { Pair } from "./pair.js";

const SHARDS = 3;

export interface SequenceOptions {
  readonly seed: number;
  readonly operations: number;
  /** True keeps the timeline on an etcd of its own, false on the first shard. */
  readonly dedicatedHost: boolean;
  /** With more than one the client changes between them, and now and then one is restarted. */
  readonly proxies: number;
  /** True leaves the proxies no memory for recent events, so that watches of the past read them from the shards. */
  readonly forgetful: boolean;
  /** Operations to run instead of random ones. */
  readonly replay?: readonly Op[] | undefined;
}

/**
 * Runs random operations against a fresh etcd and a fresh store over three shards. Rejects at the first difference,
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
    while (!options.replay && log.length < options.operations) await run(generator.next(pair));
    // Whatever came too much comes before the answers to these.
    for (const [stream, ids] of pair.watchers.entries()) {
      for (const watchId of ids) await run({ kind: "cancel", stream, watchId });
    }
    await run({ kind: "settle" });
    return pair.counts;
  } catch (reason) {
    const file = join(tmpdir(), `braid-differential-${options.seed}.jsonl`);
    writeFileSync(file, printOps(log));
    const step = `SEED=${options.seed}, step ${log.length}: ${show(log.at(-1))}`;
    const proxyLog = bench.store.proxies[0].logs().split("\n").slice(-20).join("\n");
    const { message } = reason as Error;
    throw new Error(`${step}\n${message}\nall operations: ${file}\nlast of the proxy's log:\n${proxyLog}`);
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
    private readonly host: EtcdProcess | undefined,
  ) {}

  static async start({ dedicatedHost = false, proxies = 1, forgetful = false } = {}): Promise<Bench> {
    const [plain, host] = await Promise.all([startEtcd(), dedicatedHost ? startEtcd() : undefined]);
    const config = {
      ...(host && { timeline: { endpoints: [host.endpoint] } }),
      ...(forgetful && { watch: { historyBytes: 1 } }),
    };
    const store = await startStore({ shards: SHARDS, config, proxies });
    const router = await createRouter({
      shards: store.shards.map((_, i) => ({ name: `shard${i}`, weight: 1 })),
      rules: DEFAULT_RULES,
    });
    return new Bench(plain, store, router, new Pair(plain.endpoint, store, router), host);
  }

  async remove(): Promise<void> {
    this.pair.close();
    await Promise.all([this.store.remove(), this.plain.remove(), this.host?.remove()]);
  }
}
