import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort } from "../../src/dev/ports.js";
import { packageRoot, version } from "../../src/ops/package.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import { storeConfig } from "../support/store.js";
import { run, skip, start } from "./support.js";

const NAME = "etcd-braid";
const CONFIG = "/etc/etcd-braid/shards.yaml";
const UNIT = "/usr/lib/systemd/system/etcd-braid.service";

const ends = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
/** It installs on this machine, and must not touch a package that somebody uses. */
function reason(): string | false {
  if (skip) return skip;
  if (process.getuid?.() !== 0) return "needs root";
  if (!ends("dpkg", "--version")) return "needs dpkg";
  return ends("dpkg", "-s", NAME) && `the package ${NAME} is installed on this machine`;
}

/** The values of a setting in the unit. */
function setting(name: string): string[] {
  return [...readFileSync(UNIT, "utf8").matchAll(new RegExp(`^${name}=(.*)$`, "gm"))].map(
    ([, value]) => value!,
  );
}

describe("the Debian package", { skip: reason() }, () => {
  const file = readdirSync(join(packageRoot, "dist")).find((name) => name.endsWith(".deb"));
  let shards: readonly EtcdProcess[];

  before(async () => {
    shards = await startEtcds(2);
    run("dpkg", ["-i", join(packageRoot, "dist", file!)]);
  });
  after(async () => {
    run("dpkg", ["--purge", NAME]);
    await Promise.all(shards.map((shard) => shard.remove()));
  });

  test("installs a command, a user, and a configuration that only this user may read", () => {
    assert.equal(run("/usr/bin/braid", ["--version"]), `${version}\n`);
    const uid = Number(run("id", ["-u", NAME]));
    const gid = Number(run("id", ["-g", NAME]));
    assert.ok(uid > 0 && uid < 1000, "a system user");
    const { mode, uid: owner, gid: group } = statSync(CONFIG);
    assert.deepEqual([mode & 0o777, owner, group], [0o640, 0, gid]);
    const check = spawnSync("setpriv", ["--reuid", NAME, "--regid", NAME, "--clear-groups", "cat", CONFIG]);
    assert.equal(check.status, 0);
  });

  test("has a unit that systemd accepts", {
    skip: !ends("systemd-analyze", "--version") && "needs systemd-analyze",
  }, () => {
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", UNIT], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    assert.equal(
      `${stdout}${stderr}`
        .split("\n")
        .filter((line) => line.includes(NAME))
        .join("\n"),
      "",
    );
  });

  test("runs as its unit says", async () => {
    const port = await freePort();
    writeFileSync(CONFIG, storeConfig(shards, port));
    const [command] = setting("ExecStart");
    const [user] = setting("User");
    const [program, ...args] = command!.split(" ");
    const privileges = [
      "--reuid",
      user!,
      "--regid",
      user!,
      "--clear-groups",
      "--no-new-privs",
      "--bounding-set",
      "-all",
    ];
    const proxy = start("setpriv", [...privileges, program!, ...args], { cwd: "/", env: {} });
    await proxy.says(/"serving"/);
    const put = await etcdctl(`127.0.0.1:${port}`, "put", "/a/b", "c");
    assert.equal(put.stdout, "OK\n", put.stderr);
    assert.deepEqual(setting("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
    writeFileSync(CONFIG, storeConfig(shards, port, { log: { level: "debug" } }));
    proxy.kill("SIGHUP");
    await proxy.says(/"applied":\["log.level"\]/);
    proxy.kill("SIGTERM");
    assert.equal(await proxy.ended, 0, proxy.output);
  });

  test("ends with the exit code that the unit does not restart after, when the configuration is wrong", () => {
    const kept = readFileSync(CONFIG);
    writeFileSync(CONFIG, "shards: []\n");
    const [program, ...args] = setting("ExecStart")[0]!.split(" ");
    const { status } = spawnSync(program!, args);
    assert.deepEqual(setting("RestartPreventExitStatus"), [String(status)]);
    writeFileSync(CONFIG, kept);
  });

  test("keeps a changed configuration when it is removed, and nothing when it is purged", () => {
    const edited = readFileSync(CONFIG, "utf8");
    run("dpkg", ["--remove", NAME]);
    assert.ok(!existsSync("/usr/bin/braid") && !existsSync(UNIT));
    assert.equal(readFileSync(CONFIG, "utf8"), edited);
    run("dpkg", ["-i", join(packageRoot, "dist", file!)]);
    assert.equal(readFileSync(CONFIG, "utf8"), edited);
    run("dpkg", ["--purge", NAME]);
    assert.ok(!existsSync("/etc/etcd-braid") && !existsSync("/usr/share/doc/etcd-braid"));
  });

  test("has no errors for lintian", { skip: !ends("lintian", "--version") && "needs lintian" }, () => {
    run("lintian", [
      "--fail-on",
      "error",
      "--suppress-tags-from-file",
      join(packageRoot, "packaging/deb/lintian-tags"),
      join(packageRoot, "dist", file!),
    ]);
  });
});
