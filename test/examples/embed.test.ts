import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import { endWithParent } from "../../src/dev/guard.js";
import { freePort } from "../../src/dev/ports.js";
import { openRouter, parseConfig, startProxy } from "../../src/index.js";
import { packageRoot } from "../../src/ops/package.js";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { Running } from "../support/running.js";
import { storeConfig } from "../support/store.js";

// The example imports the package by its name, and so what was built.
const program = join(packageRoot, "dist/examples/embed/main.js");

function start(...args: string[]): Running {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  endWithParent(child);
  return new Running(child);
}

describe("the package in a program", () => {
  let shards: readonly EtcdProcess[];
  before(async () => {
    shards = await startEtcds(2);
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  test("routes keys, runs a proxy, reloads, and ends when it is stopped", async () => {
    const file = join(temporaryFolder(), "shards.yaml");
    const port = await freePort();
    writeFileSync(file, storeConfig(shards, port));
    const keys = ["/a/1", "/b/1", "/c/1", "/d/1"];
    const running = start(file, ...keys);
    await running.says(new RegExp(`serving on 127.0.0.1:${port}`));
    for (const key of keys) {
      const put = await etcdctl(`127.0.0.1:${port}`, "put", key, "value");
      assert.equal(put.code, 0, put.stderr);
      const shard = /lives on shard shard(\d)/.exec(running.output.split(key)[1]!)![1];
      const { stdout } = await etcdctl(shards[Number(shard)]!.endpoint, "get", key);
      assert.equal(stdout, `${key}\nvalue\n`);
    }
    writeFileSync(file, storeConfig(shards, port, { limits: { maxTxnOps: 64 }, workers: 3 }));
    running.kill("SIGHUP");
    await running.says(/applied: limits\.maxTxnOps; needs a restart: workers/);
    running.kill("SIGTERM");
    assert.equal(await running.ended, 0, running.output);
    assert.match(running.output, /^stopped$/m);
  });

  test("a proxy logs to the program's log, whose level stays as it is", async () => {
    const lines: string[] = [];
    const log = pino({ level: "silent" }, { write: (line: string) => lines.push(line) });
    const config = parseConfig(storeConfig(shards, await freePort()), "inline");
    const proxy = await startProxy(config, { log });
    await proxy.stop();
    assert.equal(log.level, "silent");
    assert.match(lines.join(""), /endpoint connected/);
  });

  test("aborting the signal ends the wait for shards that are down", async () => {
    const endpoint = `127.0.0.1:${await freePort()}`;
    const config = parseConfig(
      `listen: ["127.0.0.1:0"]\nshards: [{ name: a, endpoints: ["${endpoint}"] }]`,
      "inline",
    );
    const stop = new AbortController();
    const waits = pino(
      { level: "info" },
      { write: (line: string) => /waiting for the backends/.test(line) && stop.abort() },
    );
    await assert.rejects(startProxy(config, { log: waits, signal: stop.signal }));
  });

  test("prints what is wrong with a configuration", async () => {
    const file = join(temporaryFolder(), "shards.yaml");
    writeFileSync(file, "shards: []\n");
    const running = start(file);
    assert.equal(await running.ended, 1);
    assert.match(running.output, /shards: must not be empty \(line 1\)/);
  });
});

describe("openRouter", () => {
  const config = parseConfig("shards: [{ name: a, endpoints: ['127.0.0.1:1'] }]", "inline");

  test("returns the group, detached from the caller's key", async () => {
    const router = await openRouter(config);
    const key = Buffer.from("/tenant/app");
    const { shard, group } = router.route(key);
    key.fill(0);
    assert.deepEqual([shard, Buffer.from(group).toString()], ["a", "/tenant"]);
  });

  test("refuses keys that no client can have", async () => {
    const router = await openRouter(config);
    assert.throws(() => router.route(""), RangeError);
    assert.throws(() => router.route(Uint8Array.of(0, 1)), RangeError);
  });
});
