import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { endWithParent } from "../../src/dev/guard.js";
import { freePort } from "../../src/dev/ports.js";
import { ask, b64 } from "../gateway/support.js";
import { braidCommand, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { Running } from "../support/running.js";
import { storeConfig } from "../support/store.js";
import { until } from "../support/until.js";
import { Scrape } from "./scrape.js";

/** Starts `braid <args>` with a limit of `handles` open files. */
function limited(handles: number, ...args: string[]): ChildProcess {
  const child = spawn("sh", ["-c", `ulimit -n ${handles}; exec "$@"`, "sh", ...braidCommand, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  endWithParent(child);
  return child;
}

describe("the limit of open files", () => {
  let shards: EtcdProcess[];
  let port: number;
  let configFile: string;

  before(async () => {
    shards = await startEtcds(2);
    port = await freePort();
    configFile = join(temporaryFolder(), "shards.yaml");
    writeFileSync(configFile, storeConfig(shards, port));
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  for (const handles of [40, 64, 80, 100, 128, 200]) {
    test(`with ${handles}, a proxy does not start, and one line says what it needs`, {
      timeout: 60_000,
    }, async (t) => {
      const child = limited(handles, "serve", "--config", configFile);
      t.after(() => child.kill("SIGKILL"));
      const running = new Running(child);
      assert.equal(await running.ended, 1);
      const lines = running.output.trimEnd().split("\n");
      assert.equal(lines.length, 1, running.output);
      assert.match(
        lines[0]!,
        new RegExp(`^braid: .*limit of open files \\(${handles}\\) is too low: at least 256 .*ulimit`),
      );
    });
  }

  test("connections beyond it are refused, logged and counted, and everything else goes on", async () => {
    const child = limited(256, "serve", "--config", configFile);
    const running = new Running(child);
    const sockets: { readonly socket: Socket; closed: boolean }[] = [];
    try {
      await running.says(/"msg":"serving"/);
      const endpoint = `127.0.0.1:${port}`;
      const room = Number((await running.says(/"connections":(\d+)/))[1]);
      assert.ok(room > 20 && room < 256, String(room));
      const client = connect(port, "127.0.0.1");
      for (let i = 0; i < 300; i++) {
        const each = { socket: connect(port, "127.0.0.1").resume(), closed: false };
        each.socket
          .on("error", () => {})
          .on("close", () => {
            each.closed = true;
          });
        sockets.push(each);
      }
      await until(
        "those beyond it are closed",
        () => sockets.filter(({ closed }) => closed).length >= 300 - room,
      );
      const lines = running.output.split("\n").filter((line) => line.includes("for the limit of open files"));
      assert.equal(lines.length, 1, "one line for all of them");
      assert.equal(JSON.parse(lines[0]!).limit, room);
      // At the limit, the proxy still has descriptors for its log, its shards and code that it loads late.
      sockets.find(({ closed }) => !closed)!.socket.destroy();
      const put = { path: "/v3/kv/put", body: JSON.stringify({ key: b64("/a"), value: "" }) };
      await until("there is room for one", async () => (await ask(endpoint, put)).status === 200);
      let scrape: Scrape | undefined;
      await until("and for a scrape", async () => {
        scrape = await Scrape.of(`http://${endpoint}/metrics`).catch(() => undefined);
        return scrape !== undefined;
      });
      const refused = scrape!.sum("braid_connections_refused_total", { reason: "handles" });
      assert.ok(refused >= 300 - room, `${refused} were counted, ${room} is the room`);
      assert.equal(scrape!.sum("braid_connections_refused_total", { reason: "limit" }), 0);
      client.destroy();
    } finally {
      for (const { socket } of sockets) socket.destroy();
      child.kill("SIGTERM");
    }
    assert.equal(await running.ended, 0);
  });
});
