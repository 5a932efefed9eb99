import assert from "node:assert/strict";
import { hostname } from "node:os";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type Growing, withStore } from "../app/growing.js";
import { startProxyProcess } from "../support/store.js";
import { newSeed, random } from "../watch/random.js";
import { EtcdClient, EVERYTHING, text } from "../watch/support.js";
import { SMALL_STEPS } from "./small.js";

/*
 * Writes that a proxy chooses a shard for before it knows of a freeze, and that reach the shard when the keys have moved. The proxy
 * is stopped again and again while another one moves keys in small steps. Its clients go on sending meanwhile, so that it has many
 * writes to send before it reads the log.
 */

const KEYS = 90;
/** Pause between two puts, in milliseconds. */
const SEND_INTERVAL_MS = 1;
/** How long the proxy is stopped, and how long it runs, in milliseconds. */
const STOPPED_MS = 120;
const RUNNING_MS = 40;

/** Puts keys through a proxy at a constant rate, without waiting for responses. */
class Hammer {
  /** Revision → key and value of an acknowledged put. */
  readonly acknowledged = new Map<number, string>();
  private readonly client: EtcdClient;
  private readonly timer: NodeJS.Timeout;
  private readonly sent: Promise<void>[] = [];

  constructor(endpoint: string, below: (limit: number) => number) {
    this.client = new EtcdClient(endpoint);
    this.timer = setInterval(() => {
      this.sent.push(this.put(`/g${below(KEYS)}/k`, `${this.sent.length}`));
    }, SEND_INTERVAL_MS);
  }

  /** Resolves when all puts are acknowledged. */
  async end(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.sent);
    this.client.close();
  }

  private async put(key: string, value: string): Promise<void> {
    this.acknowledged.set(await this.client.set(key, value), `${key}=${value}`);
  }
}

async function finished(store: Growing, plan: number): Promise<boolean> {
  await store.timeline.sync();
  return store.timeline.placement.plans >= plan && store.timeline.placement.plan === undefined;
}

test("writes of a proxy that is stopped over freezes and moves are not lost", async (t) => {
  const below = random(newSeed("stale writes"));
  await withStore("dedicated", async (store, etcds) => {
    const proxies = await Promise.all(
      [0, 1].map(() => startProxyProcess(etcds.slice(0, 2), store.settings, SMALL_STEPS)),
    );
    const watcher = new EtcdClient(proxies[0]!.endpoint);
    const hammers: Hammer[] = [];
    let stops = 0;
    try {
      const stream = watcher.watch();
      await stream.create(EVERYTHING);
      for (let i = 0; i < KEYS; i++) await watcher.set(`/g${i}/k`, "first");
      for (const indices of [
        [0, 1, 2],
        [1, 2],
      ]) {
        const plan = await store.plan(indices);
        let mover: string | undefined;
        while (mover === undefined) mover = await store.mover();
        const stopped = proxies.find(({ pid }) => !mover.startsWith(`${hostname()}:${pid}/`))!;
        const hammer = new Hammer(stopped.endpoint, below);
        hammers.push(hammer);
        for (; !(await finished(store, plan)); stops++) {
          await stopped.kill("SIGSTOP");
          await setTimeout(STOPPED_MS);
          await stopped.kill("SIGCONT");
          await setTimeout(RUNNING_MS);
        }
        await hammer.end();
      }
      const last = await watcher.set("/last/k", "last");
      await stream.reaches(0, last);
      const events = new Map(
        stream.eventsOf(0).map(({ kv }) => [kv!.modRevision, `${text(kv!.key)}=${text(kv!.value)}`]),
      );
      const acknowledged = hammers.flatMap((hammer) => [...hammer.acknowledged]);
      const lost = acknowledged.filter(([revision, put]) => events.get(revision) !== put);
      assert.deepEqual(lost, [], "each acknowledged put has its event");
      const newest = new Map([...events.values()].map((put) => [put.split("=")[0]!, put]));
      const state = (await watcher.range(EVERYTHING)).kvs.map(
        ({ key, value }) => `${text(key)}=${text(value)}`,
      );
      assert.deepEqual(state.sort(), [...newest.values()].sort(), "each key has its newest put");
      t.diagnostic(`${acknowledged.length} puts, ${stops} stops`);
      assert.ok(stops > 5, "hardly anything was tried");
    } finally {
      watcher.close();
      for (const proxy of proxies) await proxy.kill("SIGCONT");
      await Promise.all(proxies.map((proxy) => proxy.kill()));
    }
  });
});
