import assert from "node:assert/strict";
import { appendFileSync, chmodSync, chownSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parse, stringify } from "yaml";
import { TenantFile } from "../../src/cli/tenantFile.js";
import { as, ok, ROOT, startGuardedStore } from "../auth/support.js";
import { braid, temporaryFolder } from "../support/braid.js";
import type { ProxyProcess, TestStore } from "../support/store.js";
import { until } from "../support/until.js";

const folder = temporaryFolder();
/** Only root can give files away. */
const isRoot = process.getuid?.() === 0;
let store: TestStore;
let proxy: ProxyProcess;
/** The configuration of the proxy, with comments. */
let file: string;

before(async () => {
  store = await startGuardedStore({ shards: 2 });
  proxy = store.proxies[0]!;
  file = proxy.configFile;
  const plain = parse(readFileSync(file, "utf8"));
  writeFileSync(file, `# The store of all teams.\n${stringify(plain)}# The end.\n`);
  chmodSync(file, 0o600);
  if (isRoot) chownSync(file, 4_711, 4_712);
});

after(() => store?.remove());

const tenant = (...args: string[]) => braid("tenant", ...args, "--config", file);
const addShop = (...args: string[]) => tenant("add", "shop", "--prefix", "/shop/", ...args);

async function json(...args: string[]) {
  const { code, stdout, stderr } = await tenant(...args, "--json");
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function reload(): Promise<void> {
  const from = proxy.logs().length;
  process.kill(proxy.pid, "SIGHUP");
  await until("it was reloaded", () => proxy.logs().slice(from).includes("configuration reloaded"));
}

test("--dry-run shows everything and changes nothing", async () => {
  const before = readFileSync(file, "utf8");
  const report = await json(
    "add",
    "shop",
    "--prefix",
    "/shop/",
    "--limits",
    "putsPerSecond=100",
    "--dry-run",
  );
  assert.deepEqual(report.changes, [
    "add role shop",
    "grant role shop to read and write below its prefix",
    "add user shop",
    "grant role shop to user shop",
    `${file}: add tenant shop`,
  ]);
  assert.equal(report.password, null);
  assert.equal(readFileSync(file, "utf8"), before);
  assert.equal((await as("root:root-secret-42", proxy.endpoint, "user", "list")).stdout, "braid\nroot\n");
});

test("one command: the team can use its keys on all shards, and no others", async () => {
  const { code, stdout, stderr } = await addShop("--limits", "putsPerSecond=0.01,maxValueBytes=100");
  assert.equal(code, 0, stderr);
  const [, password] = /^ {2}password +(\S+) \(not shown again\)$/m.exec(stdout)!;
  const [, line] = /^ {2}try +(etcdctl .*)$/m.exec(stdout)!;
  assert.equal(line, `etcdctl --endpoints http://${proxy.endpoint} --user shop put /shop/hello world`);
  const shop = `shop:${password}`;
  // Groups of one segment: they are spread over the shards.
  for (const key of ["/shop/hello", "/shop/a", "/shop/b", "/shop/c"])
    await ok(as(shop, proxy.endpoint, "put", key, "world"));
  const foreign = await as(shop, proxy.endpoint, "put", "/other/key", "v");
  assert.match(foreign.stderr, /permission denied/);
  await reload();
  assert.match(
    (await as(shop, proxy.endpoint, "put", "/shop/hello", "v".repeat(101))).stderr,
    /maxValueBytes/,
  );
});

test("the file keeps its comments, its mode, its owner and everything else", async () => {
  const text = readFileSync(file, "utf8");
  assert.match(text, /^# The store of all teams\.\n/);
  assert.match(text, /^# The end\.$/m);
  const { mode, uid, gid } = statSync(file);
  assert.equal(mode & 0o777, 0o600);
  if (isRoot) assert.deepEqual([uid, gid], [4_711, 4_712]);
  const { tenants } = parse(text);
  assert.deepEqual(tenants, [
    { name: "shop", prefix: "/shop/", user: "shop", limits: { putsPerSecond: 0.01, maxValueBytes: 100 } },
  ]);
});

test("again: nothing to do; other limits are changed, those that are not given stay", async () => {
  const before = readFileSync(file, "utf8");
  const again = await addShop();
  assert.equal(again.code, 0);
  assert.match(again.stdout, /^Nothing to do for tenant shop\.\n/);
  assert.doesNotMatch(again.stdout, /password/);
  assert.equal(readFileSync(file, "utf8"), before);
  const changed = await json(
    "add",
    "shop",
    "--prefix",
    "/shop/",
    "--limits",
    "putsPerSecond=5",
    "--mode",
    "observe",
  );
  assert.deepEqual(changed.changes, [
    `${file}: set mode observe of tenant shop`,
    `${file}: set putsPerSecond 5 of tenant shop`,
  ]);
  assert.deepEqual(parse(readFileSync(file, "utf8")).tenants[0].limits, {
    putsPerSecond: 5,
    maxValueBytes: 100,
  });
});

test("what is missing only in part is completed", async () => {
  await ok(as("root:root-secret-42", proxy.endpoint, "user", "revoke-role", "shop", "shop"));
  assert.deepEqual((await json("add", "shop", "--prefix", "/shop/")).changes, [
    "grant role shop to user shop",
  ]);
});

test("a password from a file is used, and not printed", async () => {
  const secret = join(folder, "secret");
  writeFileSync(secret, "correct horse\n");
  const { stdout, code } = await tenant("add", "crew", "--prefix", "/crew/", "--password-file", secret);
  assert.equal(code, 0);
  assert.doesNotMatch(stdout, /horse/);
  await ok(as("crew:correct horse", proxy.endpoint, "put", "/crew/x", "v"));
});

test("list and show", async () => {
  const { stdout } = await tenant("list");
  assert.match(stdout, /^TENANT +PREFIX +USER +MODE +LIMITS\nshop +\/shop\/ +shop +observe +putsPerSecond=5/);
  await reload();
  await ok(as("crew:correct horse", proxy.endpoint, "put", "/crew/x", "v"));
  const shown = await json("show", "crew");
  assert.deepEqual([shown.prefix, shown.roles], ["/crew/", ["crew"]]);
  assert.equal(shown.usage["operations put"], 1);
  assert.match((await tenant("show", "crew")).stdout, /^operations put +1$/m);
});

test("what cannot be is refused, and changes nothing", async () => {
  const before = readFileSync(file, "utf8");
  for (const [args, text] of [
    [["add", "shop", "--prefix", "/mall/"], /tenant shop has another prefix/],
    [["add", "mall", "--prefix", "/shop/"], /is already the prefix of tenants\[0\]/],
    [["add", "mall", "--prefix", "/mall/", "--limits", "putPerSecond=5"], /did you mean putsPerSecond/],
    [["add", "mall", "--prefix", "/mall/", "--limits", "many"], /like putsPerSecond=100/],
    [["add", "mall", "--prefix", "/mall/", "--shard", "north"], /the shards are shard0, shard1/],
    [["add", "root", "--prefix", "/mall/"], /a user of the store itself/],
    [["remove", "braid"], /a user of the store itself/],
    [["show", "mall"], /there is no tenant mall/],
  ] as const) {
    const { code, stderr } = await tenant(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, text);
  }
  assert.equal(readFileSync(file, "utf8"), before);
  assert.equal(
    (await as("root:root-secret-42", proxy.endpoint, "user", "list")).stdout,
    "braid\ncrew\nroot\nshop\n",
  );
});

test("a prefix that contains that of another tenant, or is inside of it, is noted", async () => {
  const add = async (prefix: string) => (await json("add", "mall", "--prefix", prefix, "--dry-run")).warnings;
  assert.deepEqual(await add("/sh"), [
    "the user mall may also read and write the keys of tenant shop (/shop/)",
  ]);
  assert.deepEqual(await add("/shop/mall/"), [
    "the user of tenant shop (/shop/) may also read and write the keys of mall",
  ]);
  assert.deepEqual(await add("/mall/"), []);
  const { stdout } = await tenant("add", "mall", "--prefix", "/", "--dry-run");
  assert.equal(
    stdout.match(/^Note: the user mall may also read and write the keys of tenant \w+ \(.*\)\.$/gm)?.length,
    2,
  );
});

test("a role that was there before with other permissions is noted, because the user gets them", async () => {
  await ok(as(ROOT, proxy.endpoint, "role", "add", "ops"));
  await ok(as(ROOT, proxy.endpoint, "role", "grant-permission", "ops", "--prefix=true", "readwrite", "/"));
  assert.deepEqual((await json("add", "ops", "--prefix", "/ops/", "--dry-run")).warnings, [
    "the role ops has 1 other permission, and so has its user",
  ]);
  await ok(as(ROOT, proxy.endpoint, "role", "delete", "ops"));
  assert.deepEqual((await json("add", "shop", "--prefix", "/shop/", "--dry-run")).warnings, []);
});

test("--shard pins the keys with a rule, and says how to put it into effect", async () => {
  const { stdout, code, stderr } = await tenant("add", "pinned", "--prefix", "/pinned/", "--shard", "shard1");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /put the rule into effect: braid apply --config/);
  assert.deepEqual(parse(readFileSync(file, "utf8")).routing.rules, [
    { prefix: "/pinned/", shard: "shard1" },
  ]);
  assert.match((await braid("route", "/pinned/a/b", "--config", file)).stdout, /shard1/);
  assert.deepEqual((await json("add", "pinned", "--prefix", "/pinned/", "--shard", "shard1")).changes, []);
  assert.equal((await tenant("add", "pinned", "--prefix", "/pinned/", "--shard", "shard0")).code, 2);
});

test("remove: user, role and entry are gone, the keys stay; again: nothing to do", async () => {
  const report = await json("remove", "shop");
  assert.deepEqual(report.changes, ["remove user shop", "remove role shop", `${file}: remove tenant shop`]);
  assert.deepEqual((await json("remove", "shop")).changes, []);
  const kept = await as("root:root-secret-42", proxy.endpoint, "get", "--keys-only", "/shop/hello");
  assert.equal(kept.stdout.trim(), "/shop/hello");
  assert.match(readFileSync(file, "utf8"), /^# The end\.$/m);
  for (const name of ["crew", "pinned"]) await json("remove", name);
  assert.equal(parse(readFileSync(file, "utf8")).tenants, undefined);
});

test("a user that is not a tenant's stays", async () => {
  for (const user of ["anna", "bot"]) await ok(as(ROOT, proxy.endpoint, "user", "add", `${user}:secret-7`));
  const { code, stderr } = await tenant("remove", "anna");
  assert.equal(code, 2);
  assert.match(stderr, /there is no tenant anna in .*, so the user or role of this name may be another one/);
  const before = readFileSync(file, "utf8");
  appendFileSync(file, "tenants:\n- name: anna\n  user: bot\n");
  const report = await json("remove", "anna");
  assert.deepEqual(report.changes, [`${file}: remove tenant anna`]);
  assert.ok(report.next.includes("its user is still there: etcdctl user delete bot"));
  assert.equal(parse(readFileSync(file, "utf8")).tenants, undefined);
  writeFileSync(file, before);
  const users = await ok(as(ROOT, proxy.endpoint, "user", "list"));
  assert.equal(users, "anna\nbot\nbraid\nroot\n");
});

test("a password is not lost when the file cannot be written; repeated, the rest is done", async () => {
  // So long a name that there can be no file beside it.
  const long = join(folder, `${"x".repeat(248)}.yaml`);
  writeFileSync(long, readFileSync(file));
  const { code, stdout, stderr } = await braid(
    "tenant",
    "add",
    "late",
    "--prefix",
    "/late/",
    "--config",
    long,
  );
  assert.deepEqual([code, stdout], [1, ""]);
  const [, password] = /ENAMETOOLONG.*; if the user late exists now, its password is (\S+)/.exec(stderr)!;
  await ok(as(`late:${password}`, proxy.endpoint, "put", "/late/x", "v"));
  assert.deepEqual((await json("add", "late", "--prefix", "/late/")).changes, [`${file}: add tenant late`]);
  await json("remove", "late");
});

test("what others have written into the file meanwhile is not lost", () => {
  const shared = join(folder, "shared.yaml");
  writeFileSync(shared, "shards:\n- name: a\n  endpoints: [127.0.0.1:1]\n");
  const fields = { user: undefined, mode: undefined, limits: {}, shard: undefined };
  const files = ["one", "two"].map((name) => {
    const each = new TenantFile(shared);
    each.add({ ...fields, name, prefix: `/${name}/` });
    return each;
  });
  files[0]!.write();
  assert.throws(() => files[1]!.write(), /somebody else has changed it meanwhile; try again/);
  assert.deepEqual(parse(readFileSync(shared, "utf8")).tenants, [{ name: "one", prefix: "/one/" }]);
});

test("while a shard is down, add and remove fail and change nothing; repeated later, they succeed", async () => {
  const users = () => ok(as(ROOT, proxy.endpoint, "user", "list"));
  const [shard] = store.shards.slice(-1);
  const before = [readFileSync(file, "utf8"), await users()];
  await shard!.stop();
  const added = await addShop();
  await shard!.restart();
  assert.equal(added.code, 1, added.stdout);
  assert.doesNotMatch(added.stderr, /password/);
  assert.deepEqual([readFileSync(file, "utf8"), await users()], before);
  assert.equal((await json("add", "shop", "--prefix", "/shop/")).changes.length, 5);

  const made = [readFileSync(file, "utf8"), await users()];
  await shard!.stop();
  const removed = await tenant("remove", "shop");
  await shard!.restart();
  assert.equal(removed.code, 1, removed.stdout);
  assert.deepEqual([readFileSync(file, "utf8"), await users()], made);
  assert.equal((await json("remove", "shop")).changes.length, 3);
});

test("without a proxy, the error says so, and the file stays", async () => {
  const before = readFileSync(file, "utf8");
  const { code, stderr } = await addShop("--endpoint", "127.0.0.1:1");
  assert.equal(code, 1);
  assert.match(
    stderr,
    /the proxy at 127\.0\.0\.1:1: .*a proxy must run there, or name another one with --endpoint/,
  );
  assert.equal(readFileSync(file, "utf8"), before);
});

test("without authentication, only the file is changed, and no proxy is needed", async () => {
  const open = join(folder, "open.yaml");
  writeFileSync(open, "shards:\n# the only one\n- name: a\n  endpoints: [127.0.0.1:1]\n");
  const { code, stdout } = await braid("tenant", "add", "t", "--prefix", "/t/", "--config", open);
  assert.equal(code, 0);
  assert.match(stdout, /Authentication is off/);
  assert.equal(
    readFileSync(open, "utf8"),
    "shards:\n# the only one\n- name: a\n  endpoints: [127.0.0.1:1]\ntenants:\n- name: t\n  prefix: /t/\n",
  );
});
