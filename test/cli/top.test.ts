import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse, stringify } from "yaml";
import type { Overview } from "../../src/console/report.js";
import { endWithParent } from "../../src/dev/guard.js";
import { freePort } from "../../src/dev/ports.js";
import { braid, braidCommand, spawnBraid, temporaryFolder } from "../support/braid.js";
import { etcdctl } from "../support/etcdctl.js";
import { Running } from "../support/running.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

describe("braid top", () => {
  let store: TestStore;
  /** The files of a proxy with a console that has a password, and of one that has only metrics. */
  let [withConsole, withMetrics] = ["", ""];

  before(async () => {
    const listens = [await freePort(), await freePort()].map((port) => `127.0.0.1:${port}`);
    store = await startStore({
      shards: 2,
      proxies: 2,
      config: (proxy) => ({
        metrics: { listen: listens[proxy] },
        console: { enabled: proxy === 0, password: "top-secret" },
      }),
    });
    [withConsole, withMetrics] = store.proxies.map(({ configFile }) => configFile) as [string, string];
    for (let i = 0; i < 20; i++) await etcdctl(store.endpoint, "put", `/key/${i}`, "x");
  });
  after(() => store.remove());

  const once = async (...args: string[]) => {
    const { code, stdout, stderr } = await braid("top", "--once", ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const changed = (file: string, change: (config: Record<string, unknown>) => void): string => {
    const config = parse(readFileSync(file, "utf8"));
    change(config);
    const path = join(temporaryFolder(), "shards.yaml");
    writeFileSync(path, stringify(config));
    return path;
  };

  test("shows shards, members and rates of the console, with the password of the configuration", async () => {
    const text = await once("--config", withConsole);
    assert.match(text, /^etcd-braid \S+ at 127\.0\.0\.1:\d+, up \d+ s, \d\d:\d\d:\d\d UTC\n/);
    for (const [i, shard] of store.shards.entries()) {
      assert.match(text, new RegExp(`^shard${i}(?: \\(timeline\\))? +ok +`, "m"));
      assert.match(text, new RegExp(`^shard${i} +${shard.endpoint} +leader, in use +3\\.`, "m"));
    }
    assert.match(text, /^timeline +revision \d+ +sealed in p50 /m);
    assert.doesNotMatch(text, /undefined|null|NaN/);
  });

  test("--json prints the same overview", async () => {
    let overview: Overview;
    await until("a sample has all puts", async () => {
      overview = JSON.parse(await once("--config", withConsole, "--json"));
      return overview.revision === 21;
    });
    assert.deepEqual(
      overview!.shards.map(({ name, state }) => [name, state]),
      [
        ["shard0", "ok"],
        ["shard1", "ok"],
      ],
    );
  });

  test("without a console, it shows what the metrics have, and how to turn the console on", async () => {
    const text = await once("--config", withMetrics);
    assert.match(text, /^shard0 +ok +/m);
    assert.match(text, /^shard0 +1 +connected, in use/m);
    assert.match(text, /From the metrics: .*`console: \{ enabled: true \}`/);
    const none = changed(withMetrics, (config) => {
      delete config.metrics;
    });
    const { code, stderr } = await braid("top", "--config", none);
    assert.equal(code, 2);
    assert.match(stderr, /the proxy has no console: `console: \{ enabled: true \}`/);
  });

  test("a wrong or missing password, and a proxy that is down, are named", async () => {
    const wrong = await braid("top", "--once", "--config", withConsole, "--user", ":wrong");
    assert.deepEqual([wrong.code, /the password is wrong/.test(wrong.stderr)], [1, true], wrong.stderr);
    const file = changed(withConsole, (config) => {
      config.console = { enabled: true };
    });
    const missing = await braid("top", "--once", "--config", file);
    assert.match(missing.stderr, /needs a login: give the console's password \(--user :PASSWORD\)/);
    const down = await braid(
      "top",
      "--once",
      "--config",
      file,
      "--endpoint",
      `127.0.0.1:${await freePort()}`,
    );
    assert.deepEqual([down.code, /ECONNREFUSED/.test(down.stderr)], [1, true], down.stderr);
  });

  test("in a terminal it draws again and again, and q ends it", async () => {
    const command = [...braidCommand, "top", "--config", withConsole].map((part) => `'${part}'`).join(" ");
    const child: ChildProcess = spawn("script", ["-qec", `exec ${command}`, "/dev/null"], { stdio: "pipe" });
    endWithParent(child);
    const top = new Running(child);
    // The second screen, and at least two frames that begin at its top.
    await top.says(/\[\?1049h[\s\S]*\[H[\s\S]*shard1 [\s\S]*\[H[\s\S]*shard1 /);
    top.write("q");
    assert.equal(await top.ended, 0);
    assert.match(top.output, /\[\?1049l\s*$/);
  });

  test("--json goes on until it is interrupted", async () => {
    const top = new Running(
      spawnBraid(["top", "--json", "--config", withConsole], { stdio: ["ignore", "pipe", "pipe"] }),
    );
    await top.says(/^\{.*\}\n\{.*\}\n/);
    assert.equal(await top.stop(), 0);
  });
});
