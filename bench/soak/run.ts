import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { startPeer } from "../peers.js";
import { processorTime, residentMemory } from "../processes.js";
import { quantile } from "../statistics.js";
import { Load } from "./load.js";
import type { SoakOptions } from "./options.js";

const MINUTE_MS = 60_000;

/** One minute. Durations are in milliseconds. */
export interface Minute {
  readonly minute: number;
  readonly putP50: number;
  readonly putP99: number;
  readonly readP50: number;
  readonly readP99: number;
  readonly listP99: number;
  readonly calls: number;
  readonly events: number;
  readonly watches: number;
  readonly leases: number;
  readonly errors: number;
  /** CPU time of the proxy, share of a core. */
  readonly proxyCpu: number;
  /** Resident memory of the proxy and of all etcds at the end, in bytes. */
  readonly proxyMemory: number;
  readonly etcdMemory: number;
}

/** Measures everything. Ends all processes that it started, also on failure. */
export async function runSoak(
  options: SoakOptions,
  dir: string,
  say: (text: string) => void,
): Promise<Minute[]> {
  const folder = join(dir, "soak");
  mkdirSync(folder);
  const peer = await startPeer("braid-3", { dir: folder, fsync: true });
  const load = new Load(peer.port, options.writes);
  try {
    const { proxy, ...etcds } = peer.pids;
    const minutes: Minute[] = [];
    load.start();
    for (let minute = 1; minute <= options.minutes; minute++) {
      const cpu = processorTime(proxy);
      const begin = performance.now();
      await pause(MINUTE_MS);
      const { puts, reads, lists, ...counts } = load.take();
      const of = (durations: readonly number[], share: number) =>
        quantile(
          [...durations].sort((a, b) => a - b),
          share,
        );
      const figures: Minute = {
        minute,
        putP50: of(puts, 0.5),
        putP99: of(puts, 0.99),
        readP50: of(reads, 0.5),
        readP99: of(reads, 0.99),
        listP99: of(lists, 0.99),
        calls: puts.length + reads.length + lists.length,
        ...counts,
        proxyCpu: (processorTime(proxy) - cpu) / 1_000 / (performance.now() - begin),
        proxyMemory: residentMemory(proxy),
        etcdMemory: Object.values(etcds).reduce((sum, pid) => sum + residentMemory(pid), 0),
      };
      minutes.push(figures);
      const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
      say(
        `minute ${minute}: put ${figures.putP50.toFixed(1)}/${figures.putP99.toFixed(1)} ms, read ${figures.readP50.toFixed(1)}/` +
          `${figures.readP99.toFixed(1)} ms, proxy ${mib(figures.proxyMemory)}, ${figures.errors} errors` +
          (figures.errors > 0 ? ` (${load.lastError})` : ""),
      );
    }
    return minutes;
  } finally {
    load.stop();
    await peer.stop();
  }
}
