import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isAlive, untilGone } from "../support/processes.js";

const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const guard = fileURLToPath(new URL(`../../src/dev/guard.${extension}`, import.meta.url));
const loader = extension === "ts" ? ["--import", import.meta.resolve("tsx")] : [];

/** A process that starts two sleepers, guards them, ends the first one and prints the ids of both. */
const parent = `
  import { spawn } from "node:child_process";
  import { once } from "node:events";
  const { endWithParent } = await import(${JSON.stringify(guard)});
  const [first, second] = [spawn("sleep", ["1000"]), spawn("sleep", ["1000"])];
  endWithParent(first);
  endWithParent(second);
  first.kill();
  await once(first, "exit");
  console.log(first.pid, second.pid);
  process.on("SIGUSR2", () => process.exit(0));
  setInterval(() => {}, 1000);
`;

for (const signal of ["SIGKILL", "SIGTERM", "SIGUSR2"] as const) {
  test(`a guarded child ends when its parent ends by ${signal}`, async () => {
    const child = spawn(process.execPath, [...loader, "--input-type=module", "-e", parent], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(child.stdout, "data");
    const [first, second] = String(line).split(" ").map(Number);
    assert.equal(isAlive(first), false);
    assert.equal(isAlive(second), true);
    child.kill(signal);
    await once(child, "exit");
    await untilGone([second]);
  });
}
