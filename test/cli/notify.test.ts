import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { endWithParent } from "../../src/dev/guard.js";
import { freePort } from "../../src/dev/ports.js";
import { spawnBraid, temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { Running } from "../support/running.js";
import { storeConfig } from "../support/store.js";

/** Listens where systemd listens, and prints what comes, one message a line. */
const LISTENER = `
import socket, sys
socket_ = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
socket_.bind(sys.argv[1])
print("listening", flush=True)
while True:
    print(socket_.recv(4096).decode().strip().replace("\\n", " | "), flush=True)
`;

const works = (command: string) => spawnSync(command, ["--version"]).status === 0;
const skip = !(works("python3") && works("systemd-notify")) && "needs python3 and systemd-notify";

describe("Type=notify", { skip }, () => {
  let shards: readonly EtcdProcess[];
  before(async () => {
    shards = await startEtcds(1);
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  for (const workers of [1, 2]) {
    test(`systemd hears once that ${workers === 1 ? "the proxy serves" : "all workers serve"}, and once that it stops`, async () => {
      const folder = temporaryFolder();
      const socket = join(folder, "notify");
      const listener = spawn("python3", ["-c", LISTENER, socket], { stdio: ["ignore", "pipe", "pipe"] });
      endWithParent(listener);
      const heard = new Running(listener);
      await heard.says(/listening/);
      const port = await freePort();
      const file = join(folder, "shards.yaml");
      writeFileSync(file, storeConfig(shards, port, { workers }));
      const proxy = new Running(
        spawnBraid(["serve", "--config", file], {
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, NOTIFY_SOCKET: socket },
        }),
      );
      await heard.says(/READY=1/);
      await proxy.says(workers === 1 ? /"serving"/ : /"all workers serve"/);
      proxy.kill("SIGTERM");
      assert.equal(await proxy.ended, 0, proxy.output);
      await heard.says(/STOPPING=1/);
      listener.kill();
      await heard.ended;
      const messages = heard.output.split("\n").filter((line) => /^[A-Z]+=/.test(line));
      const status = `STATUS=Serving on 127.0.0.1:${port}${workers === 1 ? "" : " with 2 workers"}`;
      assert.deepEqual(
        messages.filter((line) => !line.startsWith("BARRIER=")),
        [`READY=1 | ${status}`, "STOPPING=1"],
      );
    });
  }

  test("a proxy without systemd-notify serves, and logs why systemd hears nothing", async () => {
    const file = join(temporaryFolder(), "shards.yaml");
    writeFileSync(file, storeConfig(shards, await freePort()));
    const proxy = new Running(
      spawnBraid(["serve", "--config", file], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { PATH: "", NOTIFY_SOCKET: "/nowhere" },
      }),
    );
    await proxy.says(/ENOENT.*systemd could not be notified/);
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0, proxy.output);
  });
});
