import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../../src/dev/ports.js";
import { packageRoot } from "../../src/ops/package.js";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { storeConfig } from "../support/store.js";
import { run, skip, start } from "./support.js";

const packaging = join(packageRoot, "packaging/container");
const containerfile = readFileSync(join(packaging, "Containerfile"), "utf8");
/** The last value of an instruction, which is the final stage's. */
const instruction = (name: string): string =>
  [...containerfile.matchAll(new RegExp(`\\b${name} (.*)$`, "gm"))].at(-1)![1]!;

/** The image's root folder, without an engine: what runs in it sees nothing else of this machine. */
describe("the container image", {
  skip: skip || (process.getuid?.() !== 0 && "needs root, for chroot"),
}, () => {
  const rootfs = join(temporaryFolder(), "rootfs");
  const chroot = [`--userspec=${instruction("USER")}`, rootfs];
  let shards: readonly EtcdProcess[];

  before(async () => {
    run(join(packaging, "rootfs.sh"), [join(packageRoot, "dist/braid"), rootfs]);
    shards = await startEtcds(2);
  });
  after(() => Promise.all(shards.map((shard) => shard.remove())));

  test("holds one program", () => {
    const folders = ["bin", "sbin", "usr/bin", "usr/sbin"];
    const programs = readdirSync(rootfs, { recursive: true, encoding: "utf8" }).filter((path) =>
      folders.some((folder) => path.startsWith(`${folder}/`)),
    );
    assert.deepEqual(programs, ["usr/bin/braid"]);
  });

  test("serves, is healthy and stops, as a user that is not root", async () => {
    const port = await freePort();
    const folder = join(rootfs, "etc/etcd-braid");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "shards.yaml"), storeConfig(shards, port, { workers: 2 }));
    const [program] = JSON.parse(instruction("ENTRYPOINT")) as string[];
    // The health check is a CMD, too: the default arguments come last.
    const args = JSON.parse(instruction("CMD")) as string[];
    const check = JSON.parse(/HEALTHCHECK[^[]*CMD (\[.*\])/.exec(containerfile)![1]!) as string[];

    const sick = spawnSync("chroot", [...chroot, ...check], {
      env: { PATH: process.env.PATH },
      encoding: "utf8",
    });
    assert.equal(sick.status, 1, sick.stderr);
    const proxy = start("chroot", [...chroot, program!, ...args], { env: { PATH: process.env.PATH } });
    await proxy.says(/all workers serve/);
    run("chroot", [...chroot, ...check], { env: { PATH: process.env.PATH } });
    const put = await etcdctl(`127.0.0.1:${port}`, "put", "/a/b", "c");
    assert.equal(put.stdout, "OK\n", put.stderr);
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0, proxy.output);
  });
});
