import assert from "node:assert/strict";
import { type SpawnSyncOptions, spawn, spawnSync } from "node:child_process";
import { endWithParent } from "../../src/dev/guard.js";
import { Running } from "../support/running.js";

/** Reason to skip the tests of this room, which `npm run test:package` runs: they build, and install packages. */
export const skip = process.env.BRAID_TEST_PACKAGE === undefined && "npm run test:package runs it";

/** Runs a command to its end, which must be a success, and returns its standard output. */
export function run(command: string, args: readonly string[], options: SpawnSyncOptions = {}): string {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    maxBuffer: 1 << 26,
    ...options,
    encoding: "utf8",
  });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${error?.message ?? `${stdout}\n${stderr}`}`);
  return stdout;
}

/** Starts a command that goes on. */
export function start(
  command: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Running {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  endWithParent(child);
  return new Running(child);
}
