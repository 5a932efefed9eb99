// npm run test:clients runs programs with clients in Go, Python, Java and Rust against a store of several shards. Their
// dependencies come from the registries that their tools are configured for, and are kept in .cache/clients. A client without its
// toolchain is skipped and reported. npm test runs the clients that are already built.
import { spawnSync } from "node:child_process";
import { build, checkNode, installEtcd, installPackages, listFiles, root, say } from "./setup.js";

/** Longest time of one client, downloads and build included, in milliseconds. */
const TEST_TIMEOUT_MS = 900_000;

checkNode();
installPackages();
installEtcd();
say("Compiling …");
build();
const files = listFiles("dist/test/clients").filter((path) => path.endsWith(".test.js"));
const result = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", `--test-timeout=${TEST_TIMEOUT_MS}`, "--test-reporter=spec", ...files],
  { cwd: root, stdio: "inherit", env: { ...process.env, BRAID_TEST_CLIENTS: "1" } },
);
process.exit(result.status ?? 1);
