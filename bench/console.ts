import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Page } from "playwright-core";
import { TxnRequest } from "../src/wire/messages.js";
import { KV } from "../src/wire/paths.js";
import { skip, startChromium } from "../test/console/chromium.js";
import { base64url, consoleConfig } from "../test/console/support.js";
import { startStore } from "../test/support/store.js";
import { openClient } from "./client.js";
import { processorTime, residentMemory } from "./processes.js";

/*
 * The console of a large store, in Chromium:
 *
 *   node dist/bench/console.js --keys 1000000 --groups 1000
 *
 * Prints how long each page takes until it shows its content, and what an open page costs the proxy.
 */

const { values } = parseArgs({
  options: {
    keys: { type: "string", default: "1000000" },
    groups: { type: "string", default: "1000" },
  },
});
const GROUPS = Number(values.groups);
const PER_GROUP = Math.ceil(Number(values.keys) / GROUPS);
/** Keys of a transaction. All of them are in one group, and so on one shard. */
const BATCH = 100;
const IN_FLIGHT = 16;
const OPEN_MS = 20_000;

if (skip !== false) throw new Error(skip);
const say = (text: string) => process.stdout.write(`${text}\n`);
const config = await consoleConfig();
const store = await startStore({ shards: 3, config });
const browser = await startChromium();

const groupName = (n: number): string => `/app/g${String(n).padStart(4, "0")}/`;

async function fill(): Promise<void> {
  const client = openClient(store.endpoint, "store");
  let next = 0;
  const fillGroups = async () => {
    for (let group = next++; group < GROUPS; group = next++) {
      for (let from = 0; from < PER_GROUP; from += BATCH) {
        const success = Array.from({ length: Math.min(BATCH, PER_GROUP - from) }, (_, i) => {
          const key = Buffer.from(`${groupName(group)}k${String(from + i).padStart(6, "0")}`);
          return { kind: "put" as const, request: { key, value: Buffer.alloc(100, "value ") } };
        });
        await client.call(KV.Txn, TxnRequest.encode({ success }), { idempotent: false });
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, fillGroups));
  client.close();
}

/** Opens a page, and prints the time until `ready`. */
async function open(name: string, place: string, ready: (page: Page) => Promise<unknown>): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  const begin = performance.now();
  await page.goto(`http://${config.metrics.listen}/console/${place}`);
  await ready(page);
  const ms = performance.now() - begin;
  say(`${name.padEnd(24)} ${ms.toFixed(0).padStart(6)} ms`);
  return page;
}

async function measure(): Promise<void> {
  const [proxy] = store.proxies;
  /** Seconds of CPU time so far. */
  const cpu = () => processorTime(proxy!.pid) / 1e6;
  const memory = () => `${(residentMemory(proxy!.pid) / 2 ** 20).toFixed(0)} MiB`;
  await fill();
  say(`${GROUPS * PER_GROUP} keys in ${GROUPS} groups; the proxy has ${memory()}`);
  const heading = (name: string | RegExp) => (page: Page) =>
    page.getByRole("heading", { level: 1, name }).waitFor();
  const rows = (page: Page) => page.locator("tbody tr").first().waitFor();
  const group = groupName(GROUPS - 1);
  const overview = await open("overview", "", (page) => page.getByRole("img", { name: /^Memory/ }).waitFor());
  await (await open("groups", "#/groups", heading("Groups"))).context().close();
  await (await open("keys, groups of /app/", `#/keys/${base64url("/app/")}`, rows)).context().close();
  await (await open("keys of a group", `#/keys/${base64url(group)}`, rows)).context().close();
  await (await open("a key", `#/key/${base64url(`${group}k000001`)}`, heading(/k000001/))).context().close();
  await (await open("watches", "#/watches", heading("Watches"))).context().close();
  const idle = cpu();
  await pause(OPEN_MS);
  say(
    `an open overview: ${(((cpu() - idle) / (OPEN_MS / 1_000)) * 100).toFixed(1)} % of a core; ${memory()}`,
  );
  await overview.context().close();
}

try {
  await measure();
} finally {
  await browser.close();
  await store.remove();
}
