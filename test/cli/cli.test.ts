import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../src/ops/package.js";
import { braid, temporaryFolder } from "../support/braid.js";

const folder = temporaryFolder();

function configFile(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const twoShards = configFile(
  "two.yaml",
  `
shards:
  - name: a
    endpoints: ["127.0.0.1:1"]
  - name: b
    endpoints: ["127.0.0.1:2"]
routing:
  rules:
    - prefix: /pinned/
      shard: b
`,
);

test("braid --version prints the version of package.json", async () => {
  const { version } = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  assert.deepEqual(await braid("--version"), { code: 0, stdout: `${version}\n`, stderr: "" });
});

test("help names every command, and each command's help has an example and the exit codes", async () => {
  const { code, stdout } = await braid("--help");
  assert.equal(code, 0);
  for (const command of [
    "serve",
    "dev",
    "route",
    "check",
    "health",
    "plan",
    "apply",
    "status",
    "adopt",
    "snapshot",
  ]) {
    assert.match(stdout, new RegExp(`^  ${command} `, "m"));
    const help = await braid(command, "--help");
    assert.equal(help.code, 0);
    assert.match(help.stdout, /Examples?:\n {2}braid/);
    assert.match(help.stdout, /Exit codes:\n {2}0 {2}success/);
  }
});

test("a wrong command line ends with 2 and says on standard error what is wrong", async () => {
  for (const [args, text] of [
    [["bogus"], /unknown command 'bogus'/],
    [["serve", "--bogus"], /unknown option '--bogus'/],
    [["serve", "extra"], /too many arguments/],
    [["route"], /missing required argument 'key'/],
    [["dev", "--port", "70000"], /number from 1 to 65535/],
    [["route", "--config", twoShards, "--hex", "2f6"], /"2f6" is not an even number of hexadecimal digits/],
    [["route", "--config", twoShards, ""], /a key must not be empty/],
    [["route", "--config", twoShards, "--hex", "00"], /zero byte are reserved/],
    [["plan", "--rate", "0"], /number above 0/],
    [["adopt"], /missing required argument 'shard'/],
    [["adopt", "c", "--config", twoShards], /there is no shard "c"; the shards are a, b/],
  ] as const) {
    const { code, stdout, stderr } = await braid(...args);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.match(stderr, text);
  }
  const nothing = await braid();
  assert.equal(nothing.code, 2);
  assert.match(nothing.stderr, /Usage: braid/);
});

test("a configuration that cannot be used ends every command with 2 and all its problems", async () => {
  const wrong = configFile("wrong.yaml", `shards:\n  - name: a\n    endpoints: ["nowhere"]\nbogus: 1\n`);
  for (const args of [
    ["serve"],
    ["check"],
    ["health"],
    ["route", "/k"],
    ["adopt", "a"],
    ["plan"],
    ["apply"],
    ["apply", "--watch"],
    ["status"],
  ]) {
    const { code, stderr } = await braid(...args, "--config", wrong);
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, /shards\[0\]\.endpoints\[0\]: /);
    assert.match(stderr, /bogus/);
    assert.doesNotMatch(stderr, /\n {4}at /, "a stack trace is no help here");
  }
  const missing = await braid("check", "--config", join(folder, "missing.yaml"));
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /missing\.yaml.*\n.*no such file/);
});

test("braid route shows the group, hash, shard and rule of each key", async () => {
  const { code, stdout } = await braid(
    "route",
    "--config",
    twoShards,
    "/apisix/routes/1",
    "/apisix/routes",
    "/pinned/x",
    "ü",
  );
  assert.equal(code, 0);
  const [heading, first, entry, pinned, umlaut] = stdout.split("\n").map((line) => line.split(/ {2,}/));
  assert.deepEqual(heading, ["KEY", "GROUP", "HASH", "SHARD", "RULE"]);
  assert.equal(first[1], '"/apisix/routes"');
  assert.match(first[2], /^[0-9a-f]{16}$/);
  assert.deepEqual(entry.slice(1), first.slice(1), "a directory entry lives with its content");
  assert.deepEqual(pinned.slice(3), ["b", 'prefix "/pinned/": pinned']);
  assert.equal(umlaut[0], '"\\xc3\\xbc"');
});

test("braid route takes keys that are no text as hexadecimal digits", async () => {
  const { stdout } = await braid("route", "--config", twoShards, "--hex", "2f61ff");
  assert.match(stdout, /\n"\/a\\xff" /);
});

test("braid route --prefix shows the shards of the range", async () => {
  const { code, stdout } = await braid(
    "route",
    "--config",
    twoShards,
    "--prefix",
    "/pinned/",
    "/apisix/",
    "",
  );
  assert.equal(code, 0);
  assert.deepEqual(
    stdout.split("\n").map((line) => line.split(/ {2,}/)),
    [["PREFIX", "SHARDS"], ['"/pinned/"', "b"], ['"/apisix/"', "a b"], ['""', "a b"], [""]],
  );
});
