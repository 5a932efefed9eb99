// npm run test:package tests what users install. The npm package is packed from a fresh copy of the sources, installed in another
// folder and used. So are the single executable and, as root on Debian, the Debian package. npm test does not run these tests,
// because they take minutes and install packages.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { capture, checkNode, installEtcd, installPackages, listFiles, root, run } from "./setup.js";

/** Longest time of one test, packing and installation included, in milliseconds. */
const TEST_TIMEOUT_MS = 600_000;

checkNode();
installPackages();
installEtcd();
// Each of these compiles everything else too. The tests use dist/, so nothing may build while they run.
const builds = capture("dpkg", ["--version"]) === undefined ? "build-binary.js" : "build-deb.js";
run(process.execPath, [join(root, "scripts", builds)], { stdio: ["ignore", process.stderr, "inherit"] });
const files = listFiles("dist/test/package").filter((path) => path.endsWith(".test.js"));
const result = spawnSync(
  process.execPath,
  [
    "--enable-source-maps",
    "--test",
    "--test-concurrency=1",
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
    ...files,
  ],
  { cwd: root, stdio: "inherit", env: { ...process.env, BRAID_TEST_PACKAGE: "1" } },
);
process.exit(result.status ?? 1);
