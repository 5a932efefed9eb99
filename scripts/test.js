// npm test sets up the clone, builds, runs the type check, the formatter and the linter, then every test in dist/test.
// Arguments select test files by a part of their path: npm test -- timeline cli
// With --long, which npm run test:long gives, it runs the files named *.long.test.ts instead: whole stores that change under load.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import {
  build,
  checkNode,
  fail,
  installChromium,
  installEtcd,
  installPackages,
  listFiles,
  root,
  run,
  say,
} from "./setup.js";

/** Longest time of one test, in milliseconds. A hang must end as a failure with the name of the test. */
const TEST_TIMEOUT_MS = 480_000;

checkNode();
installPackages();
installEtcd();
installChromium();
say("Compiling …");
build();
say("Strict type check of src …");
for (const project of ["src", "src/console/page"]) {
  run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", project], {
    stdio: ["ignore", process.stderr, "inherit"],
  });
}
say("Formatter and linter …");
run(process.execPath, [join(root, "node_modules/@biomejs/biome/bin/biome"), "check", "."], {
  stdio: ["ignore", process.stderr, "inherit"],
});

const wanted = process.argv.slice(2).filter((argument) => argument !== "--long");
const isLong = process.argv.includes("--long");
const files = listFiles("dist/test").filter(
  (path) =>
    path.endsWith(".test.js") &&
    path.endsWith(".long.test.js") === isLong &&
    (wanted.length === 0 || wanted.some((part) => path.includes(part))),
);
if (files.length === 0) fail(`No test file's path contains ${wanted.join(" or ")}.`);

const result = spawnSync(
  process.execPath,
  [
    "--enable-source-maps",
    "--test",
    // Every file starts real etcds. With more at a time, the tests would measure the machine and not the proxy.
    "--test-concurrency=2",
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
    ...files,
  ],
  { cwd: root, stdio: "inherit" },
);
process.exit(result.status ?? 1);
