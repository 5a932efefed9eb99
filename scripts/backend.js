// Shared by the test:etcd… commands: runs the tests that need a backend with a downloaded etcd.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { capture, fail, root, say } from "./setup.js";

/** Rooms without a backend, which `npm test` covers. */
const BACKEND_FREE = ["routing", "config", "wire", "timeline"];

/**
 * Runs tests with the etcd `binary` and ends the process with their exit code. Command-line arguments select test files, as
 * with npm test; with --fetch no test runs. `tools` is a folder with programs for the tests, which comes first on the PATH.
 */
export function testOn(binary, tools) {
  const version = capture(binary, ["--version"]);
  if (!version) fail(`${binary} does not run on this machine.`);
  say(version.split("\n")[0]);
  if (process.argv.includes("--fetch")) process.exit();
  const wanted = process.argv.slice(2);
  const rooms = readdirSync(join(root, "test"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !BACKEND_FREE.includes(entry.name))
    .map((entry) => `test/${entry.name}/`);
  const PATH = tools === undefined ? process.env.PATH : tools + delimiter + process.env.PATH;
  const result = spawnSync(
    process.execPath,
    [join(root, "scripts/test.js"), ...(wanted.length > 0 ? wanted : rooms)],
    { cwd: root, stdio: "inherit", env: { ...process.env, PATH, BRAID_TEST_ETCD: binary } },
  );
  process.exit(result.status ?? 1);
}
