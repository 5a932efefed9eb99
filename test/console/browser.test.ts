import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { spawnBraid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { etcdctl, startEtcdctl } from "../support/etcdctl.js";
import { Running } from "../support/running.js";
import { startStore, storeConfig, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { skip, startChromium } from "./chromium.js";
import { consoleConfig } from "./support.js";

const MARKUP = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>";
/** Part of a key: a slash would make it two. */
const KEY_MARKUP = MARKUP.replace("</script>", "");
const HOSTILE = Buffer.concat([Buffer.from(`/bad/${KEY_MARKUP}`), Buffer.of(0xff, 0x0a)]);
const PASSWORD = "s3cret-password";
const PATIENCE_MS = 20_000;

describe("the console's page in a browser", { skip }, () => {
  let store: TestStore;
  let browser: Browser;
  /** An etcd that becomes a shard. */
  let newcomer: EtcdProcess;
  /** The address of the open console, and of the one with a password. */
  let [open, guarded] = ["", ""];
  /** Errors of the page's script, and requests and contents that its policy has refused. */
  const problems: string[] = [];
  const put = async (key: Buffer | string, value: Buffer | string) => {
    const body = { key: Buffer.from(key).toString("base64"), value: Buffer.from(value).toString("base64") };
    const { status } = await fetch(`http://${store.endpoint}/v3/kv/put`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    assert.equal(status, 200);
  };
  /** Opens a page of the console. */
  const visit = async (address: string, place = ""): Promise<Page> => {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => {
      const isExpected = /Failed to load resource/.test(message.text());
      if (message.type() === "error" && !isExpected) problems.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`http://${address}/console/`)) problems.push(`foreign: ${request.url()}`);
    });
    await page.goto(`http://${address}/console/${place}`);
    return page;
  };
  const heading = (page: Page, name: string | RegExp) =>
    page.getByRole("heading", { level: 1, name }).waitFor();

  before(async () => {
    const configs = [await consoleConfig(), await consoleConfig({ password: PASSWORD })];
    [open, guarded] = configs.map(({ metrics }) => metrics.listen) as [string, string];
    const limits = { connectTimeoutMs: 500 };
    store = await startStore({
      shards: 2,
      proxies: 2,
      config: (proxy) => ({
        ...configs[proxy]!,
        limits,
        routing: { rules: [{ prefix: "/east/", shard: "shard1" }] },
      }),
    });
    for (let i = 0; i < 120; i++) await put(`/many/key-${i}`, `value ${i}`);
    await put("/east/json", '{"id":12345678901234567890,"list":[1,{}],"text":"a \\"b\\""}');
    await put("/east/json", '{"id":1}');
    newcomer = await startEtcd({ flags: SHARD_FLAGS });
    browser = await startChromium();
  });
  after(async () => {
    await browser?.close();
    await store?.remove();
    await newcomer?.remove();
  });

  test("the overview shows shards and numbers, and every view can be reached with the keyboard", async () => {
    const page = await visit(open);
    await heading(page, "Overview");
    for (const name of ["shard0", "shard1"]) await page.getByRole("heading", { name }).waitFor();
    await page.getByRole("img", { name: /^Requests a second, the last minute: now/ }).waitFor();
    assert.equal(await page.getByText("leader", { exact: true }).count(), 2);
    await until("there is a rate", async () => {
      await put("/rate", "1");
      return /[1-9]/.test(
        (await page.getByRole("region", { name: "Requests" }).locator(".number").textContent()) ?? "",
      );
    });
    for (const name of ["Groups", "Keys", "Watches", "Plan", "Overview"]) {
      const link = page.getByRole("navigation", { name: "Views" }).getByRole("link", { name });
      await link.focus();
      await page.keyboard.press("Enter");
      await heading(page, name);
      await page.locator("h1:focus").waitFor();
      assert.equal(await link.getAttribute("aria-current"), "page");
      assert.equal(await page.title(), `${name} · etcd-braid`);
      assert.equal(await page.getByRole("main").count(), 1);
    }
    await page.keyboard.press("Tab");
    await page.context().close();
  });

  test("keys are found by prefix and by name, with value, place and past", async () => {
    const page = await visit(open, "#/keys");
    await heading(page, "Keys");
    await page.getByRole("link", { name: "/", exact: true }).click();
    const row = page.getByRole("row", { name: "many/ 120" });
    await row.getByRole("link").click();
    await heading(page, "Keys below /many/");
    await page.getByText("120 keys at revision").waitFor();
    await page.getByRole("button", { name: "Show more" }).click();
    await page.getByRole("link", { name: "key-99", exact: true }).waitFor();
    assert.equal(await page.locator("tbody tr").count(), 120);

    await page.getByLabel(/^Prefix or key/).fill("/east/json");
    await page.getByRole("button", { name: "Show key" }).click();
    await heading(page, "Key /east/json");
    assert.equal(await page.locator("pre").textContent(), '{\n  "id": 1\n}');
    const place = page.getByRole("region", { name: "Where, and why" });
    assert.match((await place.textContent()) ?? "", /shard1.*pinned to shard1/);
    await page.getByRole("button", { name: "Show past versions" }).click();
    await page.getByText(/^Revision .*, version 1/).click();
    const past = page.locator("details pre");
    assert.match(
      (await past.textContent()) ?? "",
      /"id": 12345678901234567890,\n {2}"list": \[\n {4}1,\n {4}\{\}\n/,
    );
    await page.getByText("The key was created then.").waitFor();
    await page.getByRole("button", { name: "Hex" }).first().click();
    assert.match((await page.locator("pre").first().textContent()) ?? "", /^00000000 {2}7b 22 69 64/);
    await page.context().close();
  });

  test("markup, bytes that are not text, and a large value do no harm", async () => {
    const value = Buffer.concat([Buffer.from(MARKUP), Buffer.alloc(1024 * 1024 - MARKUP.length, "x")]);
    await put(HOSTILE, value);
    await put("/bad/binary", Buffer.alloc(300, 0xff));
    const page = await visit(open, `#/keys/${Buffer.from("/bad/").toString("base64url")}`);
    await page.getByRole("link", { name: `${KEY_MARKUP}\\xff\\x0a`, exact: true }).click();
    await heading(page, `Key /bad/${KEY_MARKUP}\\xff\\x0a`);
    assert.ok((await page.locator("pre").textContent())!.startsWith(MARKUP));
    await page.getByRole("button", { name: "Show all" }).click();
    const pre = page.locator("pre");
    await until("all is shown", async () => (await pre.textContent())?.length === value.length);
    await page.goto(`http://${open}/console/#/key/${Buffer.from("/bad/binary").toString("base64url")}`);
    await heading(page, "Key /bad/binary");
    assert.match((await page.locator("pre").textContent()) ?? "", /^00000000 {2}ff ff/);
    assert.equal(await page.locator("img, script[src=''], main script").count(), 0);
    assert.doesNotMatch(await page.title(), /broken/);
    await page.context().close();
  });

  test("watches are shown with their ranges", async () => {
    const watch = startEtcdctl(store.endpoint, "watch", "--prefix", "/many/");
    const page = await visit(open, "#/watches");
    await page.getByRole("row", { name: /127\.0\.0\.1:\d+.*up to date.*\/many\/\*/ }).waitFor();
    watch.kill("SIGKILL");
    await page.getByText("0 watches of 0 streams").waitFor();
    await page.context().close();
  });

  test("groups are shown with their numbers, in the chosen order", async () => {
    const watch = startEtcdctl(store.endpoint, "watch", "--prefix", "/many/");
    const page = await visit(open, "#/groups");
    await heading(page, "Groups");
    await page.getByRole("row", { name: /^\/many shard[01] – .* 1$/ }).waitFor();
    await page.getByText(/Requests and watches are those of this proxy\./).waitFor();
    const order = page.getByRole("button", { name: "by watches" });
    await order.click();
    assert.equal(await order.getAttribute("aria-pressed"), "true");
    const first = page.getByRole("table", { name: "Groups" }).locator("tbody tr").first();
    await first.getByRole("link", { name: "/many" }).waitFor();
    watch.kill("SIGKILL");
    await page.context().close();
  });

  test("a login is needed, a wrong one says so, and a logout ends it", async () => {
    const page = await visit(guarded, "#/keys");
    await heading(page, "Log in");
    const password = page.getByLabel("Password");
    await password.fill("wrong");
    await password.press("Enter");
    await page.getByRole("alert").getByText("the password is wrong").waitFor();
    await password.fill(PASSWORD);
    await password.press("Enter");
    await heading(page, "Keys");
    await page.reload();
    await heading(page, "Keys");
    const [cookie] = await page.context().cookies();
    assert.ok(cookie?.httpOnly, "no script can read the session");
    await page.getByRole("button", { name: "Log out" }).click();
    await heading(page, "Log in");
    await page.context().close();
  });

  test("a shard that dies is shown as down, and the page goes on", async () => {
    const overview = await visit(open);
    const keys = await visit(open, `#/keys/${Buffer.from("/east/").toString("base64url")}`);
    await keys.getByRole("link", { name: "json" }).waitFor();
    await overview.getByRole("heading", { name: "shard1" }).waitFor();
    await store.shards[1]!.kill();
    await overview.locator("li.down").getByText("unreachable").waitFor();
    await overview.getByText("Shard shard1 is down.").waitFor({ state: "attached" });
    await keys.reload();
    await keys.getByRole("alert").getByText('shard "shard1"').waitFor();
    await heading(keys, "Keys below /east/");
    await store.shards[1]!.restart();
    await overview.getByText("Shard shard1 is ok.").waitFor({ state: "attached" });
    await keys.getByRole("button", { name: "Try again" }).click();
    await keys.getByRole("link", { name: "json" }).waitFor();
    await overview.context().close();
    await keys.context().close();
  });

  test("a plan shows its progress, and a key says that it will move", async (t) => {
    const grown = join(temporaryFolder(), "grown.yaml");
    const more = { routing: { rules: ["/east/", "/many/"].map((prefix) => ({ prefix, shard: "shard2" })) } };
    writeFileSync(grown, storeConfig([...store.shards, newcomer], store.proxies[0]!.port, more));
    const current = store.proxies[0]!.configFile;
    const args = ["--config", grown, "--current", current, "--yes", "--max-keys-per-second", "1"];
    const apply = new Running(spawnBraid(["apply", ...args], { stdio: ["ignore", "pipe", "pipe"] }));
    t.after(() => apply.kill("SIGKILL"));
    await apply.says(/plan 1/i);
    const page = await visit(open, "#/plan");
    await page.getByRole("heading", { name: "Plan 1" }).waitFor();
    await page.getByText("shard shard2 is new").waitFor();
    await page.goto(`http://${open}/console/#/key/${Buffer.from("/east/json").toString("base64url")}`);
    await page.getByText(/^(will move|has moved) it from shard1 to shard2/).waitFor();
    await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: "Overview" }).click();
    await page.getByText("Plan 1 moves keys between shards.").waitFor();
    await page.context().close();
  });

  test("a proxy that dies is told, with the last numbers", async () => {
    const page = await visit(open);
    await page.getByRole("heading", { name: "shard1" }).waitFor();
    await store.proxies[0]!.kill();
    await page.getByRole("alert").getByText("the proxy does not respond").waitFor();
    await page.getByRole("heading", { name: "shard1" }).waitFor();
    await store.proxies[0]!.start();
    await page.getByRole("alert").waitFor({ state: "detached" });
    await page.context().close();
  });

  test("nothing was loaded from elsewhere, refused by the policy, or has failed", async () => {
    assert.deepEqual(problems, []);
    const { code } = await etcdctl(store.endpoint, "get", "/rate");
    assert.equal(code, 0);
  });
});
