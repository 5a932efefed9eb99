import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { FolderInUse, lockFolder } from "../../src/dev/folderLock.js";
import { temporaryFolder } from "../support/braid.js";

test("a folder is locked until it is given back", async () => {
  const dir = temporaryFolder();
  const unlock = await lockFolder(dir);
  await assert.rejects(lockFolder(dir), new FolderInUse(dir, process.pid));
  unlock();
  (await lockFolder(dir))();
});

test("the lock of a process that was killed is taken over", async () => {
  const dir = temporaryFolder();
  // The process id is alive, and the port is somebody else's: neither proves anything.
  const other = createServer((socket) => socket.end("something else")).listen(0, "127.0.0.1");
  await new Promise((resolve) => other.once("listening", resolve));
  const { port } = other.address() as { port: number };
  for (const content of [JSON.stringify({ pid: process.pid, port, token: "mine" }), '{"pid":', ""]) {
    writeFileSync(join(dir, "lock"), content);
    (await lockFolder(dir))();
  }
  other.close();
});
