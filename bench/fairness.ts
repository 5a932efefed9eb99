import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { endWithParent } from "../src/dev/guard.js";
import { packageRoot } from "../src/ops/package.js";
import type { ShardClient } from "../src/shard/client.js";
import { PutRequest, RangeRequest, WatchRequest } from "../src/wire/messages.js";
import { KV, Watch } from "../src/wire/paths.js";
import { openClient } from "./client.js";
import { startPeer } from "./peers.js";
import { quantile } from "./statistics.js";

/*
 * What one client's flood does to others:
 *
 *   node dist/bench/fairness.js --peer braid-3
 *   node dist/bench/fairness.js --peer braid-3 --elsewhere
 *
 * With `--elsewhere`, the flood goes to another store of the same kind, which shares nothing with the first but the machine. So this is
 * what shared cores and disks cost.
 *
 * A client puts and reads a key at a steady rate, on a connection of its own, while another process floods the server: with puts
 * and reads as fast as it can, with watches without end, or by listing everything in a loop. Prints the client's latencies,
 * each as the median of rounds in turn with rounds without a flood.
 */

const { values } = parseArgs({
  options: {
    peer: { type: "string", default: "braid-3" },
    rounds: { type: "string", default: "5" },
    slice: { type: "string", default: "4000" },
    keys: { type: "string", default: "20000" },
    floods: { type: "string", default: "calls,watches,lists" },
    elsewhere: { type: "boolean", default: false },
    /** Of a child: what to do, and where. */
    role: { type: "string" },
    port: { type: "string" },
  },
});

const FLOODS = ["calls", "watches", "lists"] as const;
type Flood = (typeof FLOODS)[number];
/** Requests of a flood in flight. */
const IN_FLIGHT: Record<Flood, number> = { calls: 512, watches: 1_000, lists: 8 };
/** Pause between two calls of the client, in milliseconds. */
const PAUSE_MS = 5;

function connect(port: number): ShardClient {
  return openClient(`127.0.0.1:${port}`, "server");
}

const put = (key: string) => PutRequest.encode({ key: Buffer.from(key), value: Buffer.alloc(256, "value ") });
const get = (key: string) => RangeRequest.encode({ key: Buffer.from(key) });
const ALL = RangeRequest.encode({ key: Buffer.from("/"), rangeEnd: Buffer.from("0") });

if (values.role !== undefined) await flood(values.role as Flood, connect(Number(values.port)));
else await main();

/** Never ends. */
async function flood(kind: Flood, client: ShardClient): Promise<void> {
  let count = 0;
  if (kind === "watches") return openWatches(client);
  const next = async () => {
    const key = `/fill-${++count % 50}/key-${count % 1000}`;
    const [path, request] =
      kind === "lists" ? [KV.Range, ALL] : count % 2 === 0 ? [KV.Put, put(key)] : [KV.Range, get(key)];
    await client.call(path, request, { idempotent: false }).catch(() => sleep(1));
  };
  await Promise.all(
    Array.from({ length: IN_FLIGHT[kind] }, async () => {
      for (;;) await next();
    }),
  );
}

async function openWatches(client: ShardClient): Promise<void> {
  let count = 0;
  for (;;) {
    const over = new Promise<void>((resolve) => {
      const create = () => {
        const key = Buffer.from(`/fill-${++count % 50}/key-${count % 1000}`);
        stream.send(WatchRequest.encode({ kind: "create", request: { key } }));
      };
      const stream = client.stream(Watch.Watch, { message: create, closed: () => resolve() }, {});
      for (let i = 0; i < IN_FLIGHT.watches; i++) create();
    });
    await over;
  }
}

interface Latencies {
  readonly put: number[];
  readonly get: number[];
}

/** Calls at a steady rate, whether earlier ones have ended or not. */
async function measure(client: ShardClient, milliseconds: number): Promise<Latencies> {
  const times: Latencies = { put: [], get: [] };
  const running: Promise<void>[] = [];
  const one = async (kind: keyof Latencies, due: number) => {
    const [path, request] = kind === "put" ? [KV.Put, put("/client/key")] : [KV.Range, get("/client/key")];
    await client.call(path, request, { idempotent: false });
    times[kind].push(performance.now() - due);
  };
  const begin = performance.now();
  for (let n = 0; n * PAUSE_MS < milliseconds; n++) {
    const due = begin + n * PAUSE_MS;
    const rest = due - performance.now();
    if (rest > 0) await sleep(rest);
    running.push(one(n % 2 === 0 ? "put" : "get", Math.max(due, performance.now() - 1)));
  }
  await Promise.all(running);
  return times;
}

function startFlood(kind: Flood, port: number): ChildProcess {
  const child = fork(fileURLToPath(import.meta.url), ["--role", kind, "--port", String(port)], {
    stdio: "inherit",
  });
  endWithParent(child);
  return child;
}

/** Puts the keys that a flood lists. */
async function fill(port: number): Promise<void> {
  const client = connect(port);
  const keys = Number(values.keys);
  for (let i = 0; i < keys; i += 500)
    await Promise.all(
      Array.from({ length: 500 }, (_, j) =>
        client.call(KV.Put, put(`/fill-${(i + j) % 50}/key-${i + j}`), { idempotent: false }),
      ),
    );
  client.close();
}

async function main(): Promise<void> {
  const parent = join(packageRoot, ".cache");
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, "bench-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
  const name = values.peer === "direct" ? "direct" : values.peer === "braid-1" ? "braid-1" : "braid-3";
  const peer = await startPeer(name, { dir, fsync: true });
  const other = join(dir, "other");
  mkdirSync(other);
  const flooded = values.elsewhere ? await startPeer(name, { dir: other, fsync: true }) : peer;
  const client = connect(peer.port);
  try {
    await fill(flooded.port);
    const slice = Number(values.slice);
    await measure(client, slice);
    for (const kind of FLOODS.filter((each) => values.floods.split(",").includes(each))) {
      const [alone, during]: [Latencies[], Latencies[]] = [[], []];
      for (let round = 0; round < Number(values.rounds); round++) {
        alone.push(await measure(client, slice));
        const child = startFlood(kind, flooded.port);
        await sleep(1_500);
        during.push(await measure(client, slice));
        child.kill("SIGKILL");
        await once(child, "exit");
        await sleep(1_000);
      }
      for (const method of ["put", "get"] as const) {
        const at = (rounds: Latencies[], share: number) =>
          quantile(
            rounds.flatMap((each) => each[method]).sort((a, b) => a - b),
            share,
          );
        const text = (share: number) =>
          `${at(alone, share).toFixed(2)} → ${at(during, share).toFixed(2)} ms ` +
          `(x ${(at(during, share) / at(alone, share)).toFixed(1)})`;
        process.stdout.write(`${name}, ${kind}: ${method} p50 ${text(0.5)}, p99 ${text(0.99)}\n`);
      }
    }
  } finally {
    client.close();
    await peer.stop();
    if (flooded !== peer) await flooded.stop();
  }
}
