// npm run test:etcd36 runs the tests that need a backend with the newest etcd 3.6, built from the Go module proxy.
// ETCD_VERSION=v3.7.3 selects another version. Everything is kept in .cache/etcd-go, and the machine keeps its own etcd.
// Arguments select test files, as with npm test; --fetch only downloads and builds.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { testOn } from "./backend.js";
import { capture, fail, root, run, say } from "./setup.js";

const MODULE = "go.etcd.io/etcd";
const SERIES = /^v3\.6\.\d+$/;

function newest() {
  const listed = capture("go", ["list", "-m", "-versions", `${MODULE}/server/v3`]);
  const versions = (listed ?? "").split(/\s+/).filter((version) => SERIES.test(version));
  if (versions.length === 0) fail("The Go module proxy has no etcd 3.6.");
  // In ascending order.
  return versions[versions.length - 1];
}

if (capture("go", ["version"]) === undefined)
  fail(
    "Building etcd 3.6 needs Go, which is not installed. Install Go, or set BRAID_TEST_ETCD and run npm test.",
  );
const version = process.env.ETCD_VERSION || newest();
const folder = join(root, ".cache/etcd-go", version);
const tools = join(folder, "bin");
if (!existsSync(join(tools, "etcdutl"))) {
  say(`Building etcd ${version} …`);
  mkdirSync(tools, { recursive: true });
  writeFileSync(join(folder, "go.mod"), "module tests\n\ngo 1.23\n");
  const packages = [`${MODULE}/server/v3`, `${MODULE}/etcdutl/v3`];
  run("go", ["get", ...packages.map((name) => `${name}@${version}`)], { cwd: folder });
  run("go", ["build", "-o", join(tools, "etcd"), packages[0]], { cwd: folder });
  run("go", ["build", "-o", join(tools, "etcdutl"), packages[1]], { cwd: folder });
}
testOn(join(tools, "etcd"), tools);
