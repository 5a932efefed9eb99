import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { builtClient, type Client, runClient, type Stores, sourcesOf, startStores } from "./support.js";

// Programs of other ecosystems, with the clients that those have, through two proxies over three shards.
let stores: Stores;

before(async () => {
  stores = await startStores();
});

after(async () => {
  await stores?.remove();
});

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
  ],
  "auth",
];

const COMMON_SCENARIOS = ["put", "txn", "watch", "lease", "lock", "election", "auth"];
const GATEWAY_SCENARIOS = ["put", "watch", "lease", "lock", "election", "auth", "apisix", "patroni"];

/** Go's clientv3; `modfile` chooses its version. */
const go = (name: string, modfile: string): Client => ({
  name,
  sources: "go",
  inputs: /^go|\.go$/,
  toolchain: ["go", "version"],
  fetch: () => [["go", "mod", "download", "-modfile", modfile]],
  build: (target) => [["go", "build", "-modfile", modfile, "-o", join(target, "clients"), "."]],
  // The toolchain that is here: another one would have to be fetched first.
  env: { GOTOOLCHAIN: "local", GOFLAGS: "-mod=readonly -buildvcs=false" },
});

for (const [name, modfile] of [
  ["clientv3 3.5", "go.mod"],
  ["clientv3 3.6", "go36.mod"],
]) {
  test(`Go, ${name}, with concurrency`, async (t) => {
    const built = await builtClient(go(name.replace(" ", "-"), modfile));
    if ("missing" in built) return t.skip(built.missing);
    await runClient([join(built.target, "clients")], stores, GO_SCENARIOS);
  });
}

test("Python, the JSON gateway with the standard library, as APISIX and Patroni use it", async (t) => {
  if (spawnSync("python3", ["--version"]).status !== 0) return t.skip("python3 is not installed here");
  await runClient(["python3", "-B", join(sourcesOf("python"), "gateway.py")], stores, GATEWAY_SCENARIOS);
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
