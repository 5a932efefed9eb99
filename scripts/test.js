// npm test: set-up, build, type check, formatter and linter, then every test of dist/test.
// Arguments choose test files by a part of their path: npm test -- timeline cli
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { build, checkNode, fail, installEtcd, installPackages, listFiles, root, run, say } from "./setup.js";

/** Longest time one test may take, ms: a hang must end as a failure, with the name of the test. */
const TEST_TIMEOUT = 480_000;

checkNode();
installPackages();
installEtcd();
say("Compiling …");
build();
say("Formatter and linter …");
run(process.execPath, [join(root, "node_modules/@biomejs/biome/bin/biome"), "check", "."], {
  stdio: ["ignore", process.stderr, "inherit"],
});

const wanted = process.argv.slice(2);
const files = listFiles("dist/test").filter(
  (path) => path.endsWith(".test.js") && (wanted.length === 0 || wanted.some((part) => path.includes(part))),
);
if (files.length === 0) fail(`No test file's path contains ${wanted.join(" or ")}.`);

const result = spawnSync(
  process.execPath,
  [
    "--enable-source-maps",
    "--test",
    // Every file starts real etcds: more at a time would measure the machine, not the proxy.
    "--test-concurrency=2",
    `--test-timeout=${TEST_TIMEOUT}`,
    "--test-reporter=spec",
    ...files,
  ],
  { cwd: root, stdio: "inherit" },
);
process.exit(result.status ?? 1);
