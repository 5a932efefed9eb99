// npm run screenshots makes the images in docs/images/ from a store with fixed keys and a fixed load.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Browser, Page } from "playwright-core";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { packageRoot } from "../../src/ops/package.js";
import { spawnBraid } from "../support/braid.js";
import { startEtcd } from "../support/etcd.js";
import { startEtcdctl } from "../support/etcdctl.js";
import { startStore, storeConfig } from "../support/store.js";
import { skip, startChromium } from "./chromium.js";
import { consoleConfig } from "./support.js";

/** How long the load runs before the first image, in milliseconds: the shortest time that charts show. */
const LOAD_MS = 70_000;
const SIZE = { width: 1180, height: 760 };
const TEAMS = ["billing", "gateway", "mail", "orders", "search", "shop"];

if (skip !== false) throw new Error(skip);
const folder = join(packageRoot, "docs/images");
mkdirSync(folder, { recursive: true });

const config = await consoleConfig();
const store = await startStore({ shards: 3, config });
const newcomer = await startEtcd({ flags: SHARD_FLAGS });
const base64 = (text: string): string => Buffer.from(text).toString("base64");
const call = (method: string, body: object) =>
  fetch(`http://${store.endpoint}/v3/kv/${method}`, { method: "POST", body: JSON.stringify(body) });
const put = (key: string, value: string) => call("put", { key: base64(key), value: base64(value) });

for (const [i, team] of TEAMS.entries()) {
  const keys = Array.from({ length: 40 * (i + 2) }, (_, n) => `/${team}/services/node-${n}`);
  for (const key of keys) await put(key, `http://10.0.${i}.7:8080`);
}
for (const percent of [5, 20, 50]) {
  const route = { host: "shop.example", weights: { stable: 100 - percent, canary: percent }, retries: 2 };
  await put("/gateway/routes/shop", JSON.stringify(route));
}

let isLoading = true;
const load = (async () => {
  for (let i = 0; isLoading; i++) {
    const team = TEAMS[i % TEAMS.length];
    // A wave makes the charts readable.
    const calls = 4 + Math.round(4 * Math.sin(i / 60));
    await Promise.all([
      put(`/${team}/services/node-${i % 40}`, `http://10.0.0.${i % 250}:8080`),
      ...Array.from({ length: calls }, () => call("range", { key: base64(`/${team}/services/node-1`) })),
    ]);
    await pause(25);
  }
})();
const watches = ["/shop/", "/mail/", "/gateway/routes/"].map((prefix) =>
  startEtcdctl(store.endpoint, "watch", "--prefix", prefix),
);

const browser: Browser = await startChromium();

/** Opens a view and saves what is visible, in few colors. */
async function shoot(
  name: string,
  place: string,
  colorScheme: "light" | "dark",
  ready: (page: Page) => Promise<unknown>,
) {
  const context = await browser.newContext({ viewport: SIZE, colorScheme });
  const page = await context.newPage();
  await page.goto(`http://${config.metrics.listen}/console/${place}`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await ready(page);
  await page.screenshot({ path: join(folder, `console-${name}.png`) });
  await context.close();
}

await pause(LOAD_MS);
await shoot("overview", "", "light", (page) => page.getByRole("img", { name: /^Memory/ }).waitFor());
const key = Buffer.from("/gateway/routes/shop").toString("base64url");
await shoot("key", `#/key/${key}`, "light", async (page) => {
  await page.getByRole("button", { name: "Show past versions" }).click();
  await page.locator("details").first().waitFor();
});
const root = Buffer.from("/").toString("base64url");
await shoot("keys-dark", `#/keys/${root}`, "dark", (page) =>
  page.getByRole("row", { name: /shop/ }).waitFor(),
);

isLoading = false;
await load;
const grown = join(folder, "..", "..", "dist", "screenshots.yaml");
writeFileSync(
  grown,
  storeConfig([...store.shards, newcomer], Number(store.endpoint.split(":")[1]), { ...config }),
);
const apply = spawnBraid(
  [
    "apply",
    "--config",
    grown,
    "--current",
    store.proxies[0]!.configFile,
    "--yes",
    "--max-keys-per-second",
    "10",
  ],
  { stdio: "ignore" },
);
await shoot("plan", "#/plan", "light", (page) =>
  page.getByText(/ of .* keys \((?:[1-9]|[1-9]\d)%\)/).waitFor(),
);

apply.kill();
for (const watch of watches) watch.kill("SIGKILL");
await browser.close();
await store.remove();
await newcomer.remove();
