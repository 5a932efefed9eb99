// npm test sets up the clone, builds, runs the type check, the formatter and the linter, then every test in dist/test.
// Arguments select test files by a part of their path: npm test -- timeline cli
// With --long, which npm run test:long gives, it runs the files named *.long.test.ts instead: whole stores that
// change under load, and more seeds of the simulations.
import { spawn } from "node:child_process";
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
/** Files that mostly wait, for an etcd that hangs or a lease that ends. They run one after the other, beside the others. */
const WAITING = new Set(
  [
    "app/seat",
    "auth/addresses",
    "blackbox/etcd3",
    "gateway/health",
    "kv/outage",
    "lease/again",
    "lease/leases",
    "lease/proxies",
    "services/around",
    "shard/client",
    "shard/cluster",
    "shard/grpcJs",
    "shard/guard",
    "shard/reconnect",
    "shard/stream",
    "snapshot/guarded",
    "transport/tls",
    "watch/feed",
    "watch/leader",
    "watch/outage",
  ].map((name) => `dist/test/${name}.test.js`),
);

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
const all = listFiles("dist/test");
for (const path of WAITING)
  if (!all.includes(path)) fail(`scripts/test.js lists ${path}, which is not there.`);
const files = all.filter(
  (path) =>
    path.endsWith(".test.js") &&
    path.endsWith(".long.test.js") === isLong &&
    (wanted.length === 0 || wanted.some((part) => path.includes(part))),
);
if (files.length === 0) fail(`No test file's path contains ${wanted.join(" or ")}.`);

/** Runs test files, `atOnce` at a time. Resolves to whether all have passed, and to what they printed if that was collected. */
function test(files, atOnce, collect) {
  const options = [
    "--enable-source-maps",
    "--test",
    `--test-concurrency=${atOnce}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
  ];
  const stdio = ["ignore", collect ? "pipe" : "inherit", "inherit"];
  const child = spawn(process.execPath, [...options, ...files], { cwd: root, stdio });
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text) => {
    output += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ passed: code === 0, output }));
  });
}

const waiting = files.filter((path) => WAITING.has(path));
const others = files.filter((path) => !WAITING.has(path));
// Every file starts real etcds. With more at a time, the tests would measure the machine and not the proxy.
const results = await Promise.all([
  ...(others.length > 0 ? [test(others, 2, false)] : []),
  ...(waiting.length > 0 ? [test(waiting, 1, others.length > 0)] : []),
]);
for (const { output } of results) process.stdout.write(output);
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;
