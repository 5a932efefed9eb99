import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { before, describe, test } from "node:test";
import { freePort } from "../../src/dev/ports.js";
import { packageRoot, version } from "../../src/ops/package.js";
import { temporaryFolder } from "../support/braid.js";
import { etcdctl } from "../support/etcdctl.js";
import { run, skip, start } from "./support.js";

const NPM = ["--prefer-offline", "--no-audit", "--no-fund"];

/** A program that uses every export. It is only type-checked. */
const CONSUMER = `
import { ConfigError, type Config, type Log, loadConfig, openRouter, parseConfig, type Problem } from "etcd-braid";
import { type Reloaded, type RunningProxy, startProxy, version } from "etcd-braid";
export async function use(log: Log): Promise<Reloaded> {
  const config: Config = version === "" ? loadConfig("shards.yaml") : parseConfig("{}", "inline");
  const proxy: RunningProxy = await startProxy(config, { log, signal: AbortSignal.timeout(1) });
  const shard: string = (await openRouter(config)).route("/a").shard;
  const problems: readonly Problem[] = new ConfigError(shard, []).problems;
  console.log(problems, proxy.addresses satisfies readonly string[]);
  // @ts-expect-error: the types are there
  proxy.adresses;
  return proxy.reload(config);
}
`;

/** Copies what a clone would have, edits that are not committed included. */
function copyClone(): string {
  const clone = join(temporaryFolder(), "clone");
  const files = run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: packageRoot,
  });
  for (const file of files.split("\0").filter(Boolean)) {
    mkdirSync(join(clone, dirname(file)), { recursive: true });
    cpSync(join(packageRoot, file), join(clone, file));
  }
  return clone;
}

describe("the npm package", { skip }, () => {
  const project = temporaryFolder();
  const installed = join(project, "node_modules/etcd-braid");
  const braid = join(project, "node_modules/.bin/braid");
  let packed: readonly string[];

  before(() => {
    const clone = copyClone();
    run("npm", ["ci", ...NPM], { cwd: clone });
    const [result] = JSON.parse(
      run("npm", ["pack", "--json", "--pack-destination", project], { cwd: clone }),
    );
    packed = result.files.map(({ path }: { path: string }) => path);
    writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
    run("npm", ["install", join(project, result.filename), ...NPM], { cwd: project });
  });

  test("holds the program, its types and its documentation, and nothing else", () => {
    for (const path of ["dist/src/cli/main.js", "dist/src/index.js", "dist/src/index.d.ts", "LICENSE"])
      assert.ok(packed.includes(path), path);
    const strange = packed.filter(
      (path) =>
        !/^(dist\/src\/.*\.(js|d\.ts)|dist\/src\/console\/page\/page\.(css|html)|docs\/.*|shards\.yaml|package\.json|[A-Z]+(\.md)?)$/.test(
          path,
        ),
    );
    assert.deepEqual(strange, []);
  });

  test("has a command that runs", () => {
    assert.equal(run(braid, ["--version"]), `${version}\n`);
    assert.equal(run("npx", ["--no-install", "braid", "--version"], { cwd: project }), `${version}\n`);
  });

  test("runs a store", async () => {
    const port = await freePort();
    const store = start(braid, ["dev", "--port", String(port), "--data", join(project, "store")], {
      cwd: project,
    });
    await store.says(/The store is ready/);
    const [, console] = await store.says(/The console, in a browser: (\S+)/);
    for (const name of ["", "page.js", "page.css"]) {
      const response = await fetch(`${console}${name}`);
      assert.ok(response.ok && (await response.text()).length > 300, name);
    }
    const put = await etcdctl(`127.0.0.1:${port}`, "put", "/demo/greeting", "hello");
    assert.equal(put.stdout, "OK\n", put.stderr);
    const get = await etcdctl(`127.0.0.1:${port}`, "get", "--prefix", "/");
    assert.equal(get.stdout, "/demo/greeting\nhello\n");
    assert.equal(await store.stop(), 0, store.output);
  });

  test("has an interface for programs, and no other way in", () => {
    const script = `
      const { openRouter, parseConfig, version } = await import("etcd-braid");
      const config = parseConfig("shards: [{ name: a, endpoints: ['127.0.0.1:1'] }]", "inline");
      const { shard } = (await openRouter(config)).route("/x/y");
      const inner = await import("etcd-braid/dist/src/cli/exit.js").catch((error) => error);
      console.log(shard, version, inner.code);`;
    const output = run(process.execPath, ["--input-type=module", "--eval", script], { cwd: project });
    assert.equal(output, `a ${version} ERR_PACKAGE_PATH_NOT_EXPORTED\n`);
  });

  test("has types that a strict program compiles against", () => {
    writeFileSync(join(project, "consumer.ts"), CONSUMER);
    const options = {
      strict: true,
      noEmit: true,
      module: "NodeNext",
      target: "ES2022",
      lib: ["ES2023"],
      typeRoots: [join(packageRoot, "node_modules/@types")],
      types: ["node"],
    };
    writeFileSync(
      join(project, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, files: ["consumer.ts"] }),
    );
    run(process.execPath, [join(packageRoot, "node_modules/typescript/bin/tsc"), "-p", project]);
  });

  test("names only files that are there", () => {
    const { exports, main, types, bin } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    const named = [main, types, ...Object.values(bin), ...Object.values(exports["."])] as string[];
    for (const path of named) assert.ok(readFileSync(join(installed, path)).length > 0, path);
  });
});
