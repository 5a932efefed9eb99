// npm run test:clients: programs of other ecosystems (Go, Python, Java, Rust) against a store of several shards. What they are
// built from is fetched from the registries that their tools are set up with and kept under .cache/clients; a client whose
// toolchain is missing is skipped and says so. npm test runs those that are built already.
import { spawnSync } from "node:child_process";
import { build, checkNode, installEtcd, installPackages, listFiles, root, say } from "./setup.js";

/** Longest time of one client, fetching and building included, ms. */
const TEST_TIMEOUT = 900_000;

checkNode();
installPackages();
installEtcd();
say("Compiling …");
build();
const files = listFiles("dist/test/clients").filter((path) => path.endsWith(".test.js"));
const result = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", `--test-timeout=${TEST_TIMEOUT}`, "--test-reporter=spec", ...files],
  { cwd: root, stdio: "inherit", env: { ...process.env, BRAID_TEST_CLIENTS: "1" } },
);
process.exit(result.status ?? 1);
