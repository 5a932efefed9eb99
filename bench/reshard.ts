import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { SHARD_FLAGS } from "../src/dev/etcd.js";
import { freePort } from "../src/dev/ports.js";
import type { ShardClient } from "../src/shard/client.js";
import { RangeReader } from "../src/shard/rangeReader.js";
import {
  PutRequest,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  WatchRequest,
  WatchResponse,
} from "../src/wire/messages.js";
import { KV, Watch } from "../src/wire/paths.js";
import { spawnBraid } from "../test/support/braid.js";
import { type EtcdProcess, startEtcd } from "../test/support/etcd.js";
import { openClient } from "./client.js";
import { describeMachine } from "./machine.js";
import { processorTime, residentMemory } from "./processes.js";
import { quantile } from "./statistics.js";

/*
 * One etcd becomes a store of several shards while clients use it:
 *
 *   node dist/bench/reshard.js --keys 1000000 --shards 4
 *
 * Fills an etcd, puts a proxy in front of it, and applies a map with more shards. With `--from 3`, the store has three shards
 * before, and is filled through the proxy. With `--from 4 --shards 4`, it is made with all of them, and nothing moves: "before"
 * is what "after" of another run should be like. Clients write, read and watch before, during and after the plan. Prints
 * latencies, the lag of watches, CPU time of each process and of each call, and memory, and compares all keys with those before.
 *
 * With `--rate`, each client makes so many calls per second, and the time of a call begins when it is due. Without it, each
 * client makes its next call `--pause` milliseconds after its last one. `--batch` keys share a transaction, and so a revision.
 * `--max-keys-per-second` limits the mover.
 */

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    from: { type: "string", default: "1" },
    shards: { type: "string", default: "4" },
    writers: { type: "string", default: "3" },
    readers: { type: "string", default: "3" },
    watchers: { type: "string", default: "1000" },
    seconds: { type: "string", default: "10" },
    pause: { type: "string", default: "2" },
    rate: { type: "string", default: "0" },
    batch: { type: "string", default: "100" },
    "max-keys-per-second": { type: "string" },
  },
});
const KEYS = Number(values.keys);
/** Shards before the plan. */
const FROM = Number(values.from);
const SHARDS = Number(values.shards);
const WRITERS = Number(values.writers);
const READERS = Number(values.readers);
const WATCHERS = Number(values.watchers);
const MEASURE_MS = Number(values.seconds) * 1_000;
const CLIENT_PAUSE_MS = Number(values.pause);
/** Calls per second of each client; 0: as many as the pauses allow. */
const RATE = Number(values.rate);

const GROUPS = Math.max(1, Math.ceil(KEYS / 100));
/** Keys of several shards share no transaction. */
const BATCH = FROM > 1 ? 1 : Number(values.batch);
const VALUE_BYTES = 100;

/** Keys of 100 to a group, as of services with their settings. */
const keyOf = (n: number): Buffer =>
  Buffer.from(
    `/app/g${String(n % GROUPS).padStart(6, "0")}/k${String(Math.floor(n / GROUPS)).padStart(4, "0")}`,
  );

const clientOf = (endpoint: string): ShardClient => openClient(endpoint, "store");

class Latencies {
  private times: number[] = [];

  add(ms: number): void {
    this.times.push(ms);
  }

  /** Returns a line of quantiles in milliseconds, and begins anew. */
  take(): { count: number; p50: number; p99: number; max: number } {
    const sorted = this.times.sort((a, b) => a - b);
    this.times = [];
    return {
      count: sorted.length,
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
      max: sorted.at(-1) ?? Number.NaN,
    };
  }
}

/** Clients that write, read and watch until `stop`. */
class Load {
  readonly writes = new Latencies();
  readonly reads = new Latencies();
  readonly lags = new Latencies();
  readonly errors: string[] = [];
  private stopped = false;
  private readonly clients: ShardClient[] = [];
  private running: Promise<unknown> = Promise.resolve();

  constructor(private readonly endpoint: string) {}

  async start(): Promise<void> {
    await this.watch();
    this.running = Promise.all([
      ...Array.from({ length: WRITERS }, () => this.loop(this.writes, (client) => this.write(client))),
      ...Array.from({ length: READERS }, () => this.loop(this.reads, (client) => this.read(client))),
    ]);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    for (const client of this.clients) client.close();
  }

  private open(): ShardClient {
    const client = clientOf(this.endpoint);
    this.clients.push(client);
    return client;
  }

  private async loop(latencies: Latencies, call: (client: ShardClient) => Promise<unknown>): Promise<void> {
    const client = this.open();
    let since = performance.now() + (RATE > 0 ? (Math.random() * 1_000) / RATE : 0);
    while (!this.stopped) {
      const early = since - performance.now();
      if (early > 0) await sleep(early);
      // Timers are about a millisecond late, which is not the store's time.
      if (early > 0) since = performance.now();
      try {
        await call(client);
      } catch (error) {
        this.errors.push(String(error));
      }
      const now = performance.now();
      latencies.add(now - since);
      since = RATE > 0 ? since + 1_000 / RATE : now + CLIENT_PAUSE_MS;
    }
  }

  private write(client: ShardClient): Promise<Uint8Array> {
    const value = Buffer.alloc(VALUE_BYTES);
    value.write(String(performance.now()));
    const key = keyOf(Math.floor(Math.random() * KEYS));
    return client.call(KV.Put, PutRequest.encode({ key, value }), { idempotent: false });
  }

  private read(client: ShardClient): Promise<Uint8Array> {
    const key = keyOf(Math.floor(Math.random() * KEYS));
    return client.call(KV.Range, RangeRequest.encode({ key }), { idempotent: true });
  }

  /** Most watchers have a group each. The first watches everything, and measures the lag. */
  private async watch(): Promise<void> {
    const streams = Math.min(10, WATCHERS);
    for (let s = 0; s < streams; s++) {
      const client = this.open();
      let created = 0;
      const own = Math.ceil(WATCHERS / streams);
      await new Promise<void>((resolve, reject) => {
        const stream = client.stream(Watch.Watch, {
          message: (message) => {
            const response = WatchResponse.decode(message);
            if (response.created && ++created === own) resolve();
            if (response.canceled) this.errors.push(`watch canceled: ${response.cancelReason}`);
            if (s > 0 || response.watchId !== 1) return;
            for (const { kv } of response.events) {
              const sent = Number.parseFloat(Buffer.from(kv!.value).toString());
              this.lags.add(performance.now() - sent);
            }
          },
          closed: (error) => {
            if (!this.stopped) this.errors.push(`watch stream: ${error}`);
            reject(error);
          },
        });
        for (let id = 1; id <= own; id++) {
          const group = `/app/g${String((s * own + id) % GROUPS).padStart(6, "0")}/`;
          const [from, to] = s === 0 && id === 1 ? ["/app/", "/app0"] : [group, `${group.slice(0, -1)}0`];
          const request = { key: Buffer.from(from), rangeEnd: Buffer.from(to), watchId: id };
          stream.send(WatchRequest.encode({ kind: "create", request }));
        }
      });
    }
  }
}

/** Puts all keys into an etcd. */
async function fill(endpoint: string): Promise<void> {
  const client = clientOf(endpoint);
  const value = Buffer.alloc(VALUE_BYTES, "x");
  let next = 0;
  const worker = async () => {
    while (next < KEYS) {
      const from = next;
      next += BATCH;
      const success = [];
      for (let n = from; n < Math.min(KEYS, from + BATCH); n++)
        success.push({ kind: "put" as const, request: { key: keyOf(n), value } });
      await client.call(KV.Txn, TxnRequest.encode({ success }), { idempotent: false });
    }
  };
  // Single keys need many calls at once to share the etcd's writes to its disk.
  await Promise.all(Array.from({ length: BATCH > 1 ? 4 : 64 }, worker));
  client.close();
}

/** Keys of a request of `digest`. */
const DIGEST_PAGE = 5_000;

/** A number that depends on all keys, values, revisions and versions at a revision (0: now), and how many keys there are. */
async function digest(
  endpoint: string,
  revision: number,
): Promise<{ keys: number; digest: string; revision: number }> {
  const hash = createHash("sha256");
  const client = clientOf(endpoint);
  let at = revision;
  let keys = 0;
  const reader = new RangeReader(async ({ from, to }) => {
    const request = RangeRequest.encode({ key: from, rangeEnd: to!, limit: DIGEST_PAGE, revision: at });
    const page = RangeResponse.decode(await client.call(KV.Range, request, { idempotent: true }));
    if (at === 0) at = page.header!.revision;
    return page;
  }, DIGEST_PAGE);
  for await (const kvs of reader.pages(Buffer.from("/app/"), Buffer.from("/app0"))) {
    for (const kv of kvs) {
      hash.update(kv.key).update(kv.value);
      hash.update(` ${kv.createRevision} ${kv.modRevision} ${kv.version} ${kv.lease}\n`);
    }
    keys += kvs.length;
  }
  client.close();
  return { keys, digest: hash.digest("hex").slice(0, 16), revision: at };
}

const ms = (n: number): string => n.toFixed(1).padStart(8);

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "braid-reshard-"));
  console.log(JSON.stringify(describeMachine(dir)));
  const etcds: EtcdProcess[] = [];
  for (let i = 0; i < SHARDS; i++) {
    mkdirSync(join(dir, `s${i}`));
    const flags = [...SHARD_FLAGS, "--quota-backend-bytes", String(8 * 2 ** 30)];
    etcds.push(await startEtcd({ name: `s${i}`, dir: join(dir, `s${i}`), flags }));
  }
  const say = (text: string) => console.log(text);
  let proxy: ReturnType<typeof spawnBraid> | undefined;
  try {
    let since = performance.now();
    const filled = () => say(`${KEYS} keys filled in ${((performance.now() - since) / 1_000).toFixed(0)} s`);
    if (FROM === 1) {
      await fill(etcds[0].endpoint);
      filled();
    }
    // An etcd 3.4 copies for each read a buffer that is as large as its busiest 100 ms. The fill must not slow down the clients.
    await etcds[0].restart();
    const port = await freePort();
    const file = (count: number) =>
      [
        `listen: ["127.0.0.1:${port}"]`,
        "log: { level: info }",
        "timeline: { host: s0 }",
        "routing: { default: { segments: 2 } }",
        "shards:",
        ...etcds.slice(0, count).map(({ endpoint }, i) => `  - { name: s${i}, endpoints: ["${endpoint}"] }`),
        "",
      ].join("\n");
    const [one, many] = [join(dir, "one.yaml"), join(dir, "many.yaml")];
    writeFileSync(one, file(FROM));
    writeFileSync(many, file(SHARDS));
    since = performance.now();
    const endpoint = `127.0.0.1:${port}`;
    proxy = spawnBraid(["serve", "--config", one], { stdio: ["ignore", "ignore", "inherit"] });
    const probe = clientOf(endpoint);
    for (;;) {
      const ready = await probe
        .call(KV.Range, RangeRequest.encode({ key: Buffer.from("/") }), { idempotent: true })
        .then(
          () => true,
          () => false,
        );
      if (ready) break;
      await sleep(50);
    }
    probe.close();
    say(`the proxy serves after ${((performance.now() - since) / 1_000).toFixed(1)} s`);
    if (FROM > 1) {
      since = performance.now();
      await fill(endpoint);
      filled();
    }
    const before = await digest(endpoint, 0);
    const load = new Load(endpoint);
    await load.start();
    const pids: Record<string, number> = { proxy: proxy.pid! };
    for (const [i, { pid }] of etcds.entries()) pids[`etcd-${i}`] = pid;
    const memory = () => (residentMemory(proxy!.pid!) / 2 ** 20).toFixed(0);
    let last = { at: performance.now(), cpu: cpuOf(pids) };
    /** Begins another phase. Returns the CPU time of each process in the last one, in microseconds. */
    const phase = (name: string) => {
      const [w, r, l] = [load.writes.take(), load.reads.take(), load.lags.take()];
      const now = { at: performance.now(), cpu: cpuOf(pids) };
      const seconds = (now.at - last.at) / 1_000;
      const used = Object.fromEntries(
        Object.keys(pids).map((each) => [each, now.cpu[each] - last.cpu[each]]),
      );
      const shares = Object.entries(used).map(([each, us]) => `${each} ${(us / 1e4 / seconds).toFixed(0)}%`);
      const perCall = Object.values(used).reduce((sum, us) => sum + us, 0) / (w.count + r.count);
      last = now;
      say(
        `\n${name}: ${seconds.toFixed(1)} s; ${memory()} MiB; CPU ${shares.join(", ")}; ${perCall.toFixed(0)} us a call`,
      );
      for (const [what, each] of [
        ["write", w],
        ["read", r],
        ["watch lag", l],
      ] as const) {
        if (each.count === 0) continue;
        const rate = (each.count / seconds).toFixed(0).padStart(7);
        say(`  ${what.padEnd(10)}${rate}/s  p50${ms(each.p50)}  p99${ms(each.p99)}  max${ms(each.max)} ms`);
      }
      return used;
    };
    // The first seconds warm up.
    await sleep(3_000);
    phase("warm-up");
    await sleep(MEASURE_MS);
    phase("before");
    let code = 0;
    if (SHARDS > FROM) {
      since = performance.now();
      const limit = values["max-keys-per-second"];
      const limits = limit === undefined ? [] : ["--max-keys-per-second", limit];
      const apply = spawnBraid(["apply", "--config", many, "--current", one, "--yes", "--json", ...limits], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      apply.stdout!.on("data", (chunk) => {
        output += chunk;
      });
      code = await new Promise<number>((resolve) => apply.once("exit", (status) => resolve(status ?? 1)));
      const used = phase("during");
      const seconds = (performance.now() - since) / 1_000;
      say(`  braid apply ended with ${code} after ${seconds.toFixed(1)} s`);
      const end = output.trim().split("\n").at(-1) ?? "";
      say(`  ${end}`);
      if (code === 0) {
        const moved = (JSON.parse(end) as { keys: number }).keys;
        const perKey = Object.entries(used).map(([each, us]) => `${each} ${(us / moved).toFixed(1)}`);
        const all = Object.values(used).reduce((sum, us) => sum + us, 0);
        say(
          `  CPU for each key moved, clients included: ${perKey.join(", ")}; all ${(all / moved).toFixed(1)} us`,
        );
      }
      await sleep(3_000);
      phase("settling");
      await sleep(MEASURE_MS);
      phase("after");
    }
    await load.stop();
    const after = await digest(endpoint, before.revision);
    const same = after.digest === before.digest && after.keys === KEYS;
    say(`\n${after.keys} keys at revision ${before.revision}: ${same ? "the same as before" : "DIFFERENT"}`);
    const now = await digest(endpoint, 0);
    say(`${now.keys} keys now, at revision ${now.revision}; ${memory()} MiB`);
    if (load.errors.length > 0) say(`${load.errors.length} errors, the first: ${load.errors[0]}`);
    process.exitCode = same && code === 0 && load.errors.length === 0 ? 0 : 1;
  } finally {
    proxy?.kill("SIGKILL");
    await Promise.all(etcds.map((etcd) => etcd.remove()));
    rmSync(dir, { recursive: true, force: true });
  }
}

const cpuOf = (pids: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, processorTime(pid)]));

await main();
