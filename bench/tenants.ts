import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { packageRoot } from "../src/ops/package.js";
import { Generator } from "./generator.js";
import { startPeer } from "./peers.js";
import { median } from "./statistics.js";
import { preload, workloads } from "./workloads.js";

/*
 * What the limits of tenants cost a proxy:
 *
 *   node dist/bench/tenants.js --rounds 20
 *
 * One proxy gets the same load in turns, without tenants and with one, whose limits are too high to refuse anything. SIGHUP
 * changes between the two, so that both are measured on the same process.
 */

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    slice: { type: "string", default: "1000" },
    load: { type: "string", default: "16 x 16" },
    peer: { type: "string", default: "braid-1" },
    only: { type: "string", default: "put,range" },
  },
});
const SLICE_MS = Number(values.slice);
/** How long the proxy may take to read its configuration again. */
const RELOAD_MS = 300;

const TENANT = {
  name: "bench",
  prefix: "/",
  limits: {
    putsPerSecond: 1e9,
    rangesPerSecond: 1e9,
    transactionsPerSecond: 1e9,
    bytesInPerSecond: 1e9,
    bytesOutPerSecond: 1e9,
    maxValueBytes: 1_000_000,
  },
};

const parent = join(packageRoot, ".cache");
mkdirSync(parent, { recursive: true });
const dir = mkdtempSync(join(parent, "bench-"));
process.on("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

const name = values.peer === "braid-3" ? "braid-3" : "braid-1";
const peer = await startPeer(name, { dir, fsync: true });
const generator = new Generator();
try {
  const file = join(dir, `${name}.yaml`);
  const plain = readFileSync(file, "utf8");
  const limited = `${plain}tenants: ${JSON.stringify([TENANT])}\n`;
  await preload(peer);
  const chosen = workloads({ watchers: 1, connections: 1, stalled: 0, writesPerSecond: 1 }).filter(
    ({ kind, load }) => values.only.split(",").includes(kind) && load === values.load,
  );
  /** Microseconds of the proxy's CPU time per request. */
  const measure = async (work: (typeof chosen)[number], config: string): Promise<number> => {
    writeFileSync(file, config);
    process.kill(peer.pids.proxy!, "SIGHUP");
    await sleep(RELOAD_MS);
    const { cpu, operations } = await generator.run(work.task(peer, SLICE_MS));
    return cpu.proxy! / operations;
  };
  for (const work of chosen) {
    const ratios: number[] = [];
    const without: number[] = [];
    for (let round = -2; round < Number(values.rounds); round++) {
      // Each in front of the other equally often.
      const order = round % 2 === 0 ? [plain, limited] : [limited, plain];
      const first = await measure(work, order[0]!);
      const second = await measure(work, order[1]!);
      if (round < 0) continue;
      const [off, on] = round % 2 === 0 ? [first, second] : [second, first];
      ratios.push(on / off);
      without.push(off);
    }
    ratios.sort((a, b) => a - b);
    const percent = (ratio: number) => `${((ratio - 1) * 100).toFixed(1)} %`;
    const quartile = (share: number) => percent(ratios[Math.floor(ratios.length * share)]!);
    process.stdout.write(
      `${work.kind} ${work.load}: ${median(without).toFixed(1)} µs of CPU without tenants, with one ${percent(median(ratios))} ` +
        `more (quartiles ${quartile(0.25)}, ${quartile(0.75)})\n`,
    );
  }
} finally {
  generator.stop();
  await peer.stop();
}
