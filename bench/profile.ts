import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../src/ops/package.js";
import { Generator } from "./generator.js";
import { type PeerName, startPeer } from "./peers.js";
import { partOf, resolveSymbols, type Sample } from "./samples.js";
import { preload, workloads } from "./workloads.js";

/*
 * Where a proxy's CPU time goes under one load: `node --import tsx bench/profile.ts [kind load [peer]]`, by default
 * `put "1 x 64" braid-3`. Needs Linux' perf (Debian: linux-perf) and permission to use it. Prints a table for
 * docs/performance.md: microseconds per operation by part of the program, and the functions that take the most.
 */

const WARM_UP_MS = 6_000;
const SLICE_MS = 5_000;
const SHOWN = 12;
/** Samples per second: not a multiple of any regular event. */
const FREQUENCY_HZ = 4_999;

const [kind = "put", load = "1 x 64", peerName = "braid-3"] = process.argv.slice(2);
const size = { watchers: 1_000, connections: 8, stalled: 0, writesPerSecond: 200 };
const workload = workloads(size).find((each) => each.kind === kind && each.load === load);
if (workload === undefined) throw new Error(`no workload "${kind} ${load}"`);

const parent = join(packageRoot, ".cache");
mkdirSync(parent, { recursive: true });
const dir = mkdtempSync(join(parent, "profile-"));
process.on("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
const generator = new Generator();
// The proxy writes a map of its compiled functions.
process.env.NODE_OPTIONS = "--perf-basic-prof";
const peer = await startPeer(peerName as PeerName, { dir, fsync: true });
try {
  await preload(peer);
  await generator.run(workload.task(peer, WARM_UP_MS));
  const data = join(dir, "perf.data");
  const perf = spawn(
    "perf",
    ["record", "-q", "-F", String(FREQUENCY_HZ), "-p", String(peer.pids.proxy), "-o", data],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  await once(perf, "spawn");
  const { cpu, operations } = await generator.run(workload.task(peer, SLICE_MS));
  const ended = once(perf, "exit");
  perf.kill("SIGINT");
  await ended;
  report(readSamples(data, peer.pids.proxy), cpu.proxy / operations);
} finally {
  generator.stop();
  await peer.stop();
  rmSync(`/tmp/perf-${peer.pids.proxy}.map`, { force: true });
}

function readSamples(data: string, pid: number): Sample[] {
  const text = execFileSync("perf", ["script", "-i", data, "-F", "ip,sym,dso"], {
    encoding: "latin1",
    maxBuffer: 2 ** 28,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let map = "";
  try {
    map = readFileSync(`/tmp/perf-${pid}.map`, "latin1");
  } catch {
    // a peer that is not Node.js
  }
  return resolveSymbols(text, map);
}

function report(samples: readonly Sample[], microseconds: number): void {
  const byPart = count(samples, partOf);
  const byName = count(samples, ({ symbol }) => symbol);
  const row = ([name, n]: [string, number]): string =>
    `| ${name} | ${((n / samples.length) * 100).toFixed(1)} | ${((n / samples.length) * microseconds).toFixed(2)} |`;
  const lines = [
    `${kind} ${load}, ${peerName}: ${microseconds.toFixed(1)} µs per operation, ${samples.length} samples`,
    "",
    "| part | % | µs per operation |",
    "| --- | --- | --- |",
    ...byPart.map(row),
    "",
    "| function | % | µs per operation |",
    "| --- | --- | --- |",
    ...byName.slice(0, SHOWN).map(row),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Most frequent first. */
function count(samples: readonly Sample[], name: (sample: Sample) => string): [string, number][] {
  const counts = new Map<string, number>();
  for (const sample of samples) counts.set(name(sample), (counts.get(name(sample)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}
