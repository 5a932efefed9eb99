import { spawnSync } from "node:child_process";
import { type Browser, chromium } from "playwright-core";

/** The browser under test: `BRAID_TEST_CHROMIUM`, else Debian's. */
const executablePath = process.env.BRAID_TEST_CHROMIUM || "chromium";

/** Why tests in a browser cannot run here; false if they can. */
export const skip: string | false =
  spawnSync(executablePath, ["--version"]).status === 0
    ? false
    : `there is no ${executablePath} here: install chromium, or set BRAID_TEST_CHROMIUM`;

/** Starts a browser without a window. */
export function startChromium(): Promise<Browser> {
  const path = spawnSync("which", [executablePath], { encoding: "utf8" }).stdout.trim();
  // Its sandbox does not work for root, and shared memory is small in containers.
  const args = ["--no-sandbox", "--disable-dev-shm-usage"];
  return chromium.launch({ executablePath: path, args });
}
