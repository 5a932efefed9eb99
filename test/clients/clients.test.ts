import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { builtClient, type Client, runClient, type Stores, sourcesOf, startStores } from "./support.js";
import { checkCounts } from "./tenants.js";

// Programs of other ecosystems, with the clients that those have, through two proxies over three shards.
let stores: Stores;

before(async () => {
  stores = await startStores();
});

after(async () => {
  await stores?.remove();
});

/** Longest time of all tests of etcdctl, ms. */
const ETCDCTL_TIMEOUT = 240_000;

const GO_SCENARIOS = [
  ...[
    "put",
    "txn",
    "watch",
    "progress",
    "compacted",
    "lease",
    "lock",
    "election",
    "stm",
    "cluster",
    "many",
    "large",
    "limits",
  ],
  "auth",
];

const COMMON_SCENARIOS = ["put", "txn", "watch", "lease", "lock", "election", "auth"];
const GATEWAY_SCENARIOS = [
  "put",
  "watch",
  "lease",
  "lock",
  "election",
  "auth",
  "apisix",
  "patroni",
  "limits",
];

/** A Go program, built from the package as `clients`; `modfile` chooses its version and that of what it needs. */
const go = (name: string, modfile: string, inputs = /^go|\.go$/, source = "."): Client => ({
  name,
  sources: "go",
  inputs,
  toolchain: ["go", "version"],
  fetch: () => [["go", "mod", "download", "-modfile", modfile]],
  build: (target) => [["go", "build", "-modfile", modfile, "-o", join(target, "clients"), source]],
  // The toolchain that is here: another one would have to be fetched first.
  env: { GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly -buildvcs=false" },
});

for (const [name, modfile, tenants] of [
  ["clientv3 3.5", "go.mod", "go35"],
  ["clientv3 3.6", "go36.mod", "go36"],
] as const) {
  test(`Go, ${name}, with concurrency`, async (t) => {
    const built = await builtClient(go(name.replace(" ", "-"), modfile));
    if ("missing" in built) return t.skip(built.missing);
    await runClient([join(built.target, "clients")], stores, GO_SCENARIOS, { TENANTS: tenants });
    await checkCounts(stores.limited, tenants);
  });
}

test("etcdctl 3.5 does what etcdctl 3.4 does", async (t) => {
  const built = await builtClient(
    go("etcdctl-3.5", "etcdctl.mod", /^etcdctl\./, "go.etcd.io/etcd/etcdctl/v3"),
  );
  if ("missing" in built) return t.skip(built.missing);
  // With the context of this run it would report to this run's reporter.
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const env = { ...inherited, BRAID_TEST_ETCDCTL: join(built.target, "clients") };
  const file = fileURLToPath(
    new URL(`../blackbox/etcdctl.test.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
  );
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...process.execArgv, "--test", "--test-reporter=spec", file],
    { env, encoding: "utf8", timeout: ETCDCTL_TIMEOUT },
  );
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^ℹ pass [1-9]/m);
});

test("Python, the JSON gateway with the standard library, as APISIX and Patroni use it", async (t) => {
  if (spawnSync("python3", ["--version"]).status !== 0) return t.skip("python3 is not installed here");
  const program = join(sourcesOf("python"), "gateway.py");
  await runClient(["python3", "-B", program], stores, GATEWAY_SCENARIOS, { TENANTS: "gateway" });
  await checkCounts(stores.limited, "gateway");
});

test("Python, etcd3 over gRPC", async (t) => {
  const built = await builtClient({
    name: "python-etcd3",
    sources: "python",
    inputs: /^requirements/,
    toolchain: ["python3", "-m", "pip", "--version"],
    fetch: (target) => [
      ["python3", "-m", "pip", "install", "--quiet", "--target", target, "-r", "requirements.txt"],
    ],
    build: () => [],
  });
  if ("missing" in built) return t.skip(built.missing);
  const program = join(sourcesOf("python"), "grpc_client.py");
  await runClient(
    ["env", `PYTHONPATH=${built.target}`, "python3", "-B", "-W", "ignore", program],
    stores,
    COMMON_SCENARIOS,
  );
});

test("Java, jetcd", async (t) => {
  const built = await builtClient({
    name: "jetcd",
    sources: "java",
    inputs: /\.(xml|java)$/,
    toolchain: ["mvn", "--version"],
    fetch: (target) => [["mvn", "-q", "-B", "dependency:copy-dependencies", `-DoutputDirectory=${target}`]],
    build: (target) => [["javac", "-cp", join(target, "*"), "-d", target, "Clients.java"]],
  });
  if ("missing" in built) return t.skip(built.missing);
  const classes = `${built.target}:${join(built.target, "*")}`;
  await runClient(["java", "-cp", classes, "Clients"], stores, COMMON_SCENARIOS);
});
