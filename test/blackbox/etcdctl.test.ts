import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { temporaryFolder } from "../support/braid.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { type CommandResult, etcdctl, etcdctlWithInput, startEtcdctl } from "../support/etcdctl.js";
import type { Running } from "../support/running.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

// The same commands are given to a plain etcd and to a proxy over three shards: who reads the output must
// not be able to tell which is which.
let plain: EtcdProcess;
let store: TestStore;

before(async () => {
  [plain, store] = await Promise.all([startEtcd(), startStore()]);
});

after(async () => {
  await Promise.all([plain?.remove(), store?.remove()]);
});

/** What differs between any two etcds: ids, terms, addresses. */
function masked(text: string): string {
  return text
    .replace(/"(cluster_id|member_id|raft_term)":\d+/g, '"$1":_')
    .replace(/"(ClusterID|MemberID|RaftTerm)" : \d+/g, '"$1" : _')
    .replaceAll(plain.endpoint, "ENDPOINT")
    .replaceAll(store.endpoint, "ENDPOINT")
    .replace(/"ts":"[^"]*"/g, '"ts":_') // etcdctl's own log lines
    .replace(/"target":"[^"]*"/g, '"target":_');
}

/** Runs one command on both, checks that the results are equal and gives the proxy's. */
async function both(args: readonly string[], input = ""): Promise<CommandResult> {
  const expected = await etcdctlWithInput(plain.endpoint, input, ...args);
  const actual = await etcdctlWithInput(store.endpoint, input, ...args);
  assert.deepEqual(
    { code: actual.code, stdout: masked(actual.stdout), stderr: masked(actual.stderr) },
    { code: expected.code, stdout: masked(expected.stdout), stderr: masked(expected.stderr) },
    `etcdctl ${args.join(" ")}`,
  );
  return actual;
}

/** Runs one command on the proxy, which must succeed; gives its output. */
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await etcdctl(store.endpoint, ...args);
  assert.equal(code, 0, `etcdctl ${args.join(" ")}: ${stderr}`);
  return stdout;
}

function start(t: TestContext, ...args: string[]): Running {
  const running = startEtcdctl(store.endpoint, ...args);
  t.after(() => running.kill("SIGKILL"));
  return running;
}

const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Checks that keys with a prefix lie on several shards, without which a test of that would prove nothing. */
async function assertSpread(prefix: string): Promise<void> {
  const counts = await Promise.all(
    store.shards.map(
      async ({ endpoint }) => (await etcdctl(endpoint, "get", "--prefix", prefix)).stdout.length,
    ),
  );
  assert.ok(counts.filter((count) => count > 0).length >= 2, `${prefix} is on one shard`);
}

/** Keys of many groups, so that they lie on all shards. */
const KEYS = [
  "/apisix/routes/1",
  "/apisix/routes/2",
  "/apisix/upstreams/1",
  "/apisix/services/9",
  "/registry/pods/ns/a",
  "/registry/pods/ns/b",
  "/registry/leases/ns/c",
  "config",
  "foo",
  "foo/child",
  "zebra",
];

// One sequence: each test leaves the store as the next one expects it, on both sides.
describe("like a plain etcd", { concurrency: false }, () => {
  test("put", async () => {
    for (const [i, key] of KEYS.entries()) await both(["put", key, `v${i}`, "-w", "json"]);
    await both(["put", "foo", "second", "--prev-kv"]);
    await both(["put", "foo", "--ignore-value", "-w", "json"]);
    await both(["put", "zebra", "x", "-w", "fields"]);
    await both(["put", "", "no key"]);
    await both(["put", "missing", "--ignore-value"]);
    await both(["put", "foo", "v", "--lease", "1234abcd"]);
  });

  test("get: single keys, prefixes, ranges and pages", async () => {
    for (const args of [
      ["foo"],
      ["missing"],
      ["foo", "-w", "json"],
      ["foo", "-w", "fields"],
      ["foo", "--hex"],
      ["foo", "--print-value-only"],
      ["foo", "--consistency", "s"],
      ["--prefix", "/apisix/routes/", "-w", "json"],
      ["--prefix", "/apisix/", "-w", "json"],
      ["--prefix", "/", "-w", "json"],
      ["--prefix", "", "-w", "json"],
      ["--prefix", "", "--keys-only"],
      ["--prefix", "", "--count-only", "-w", "fields"],
      ["--prefix", "", "--limit", "3", "-w", "json"],
      ["--prefix", "/registry/", "--limit", "1", "-w", "json"],
      ["--from-key", "/registry", "-w", "json"],
      ["--from-key", "", "--limit", "2"],
      ["/apisix/routes/2", "/registry/z", "-w", "json"],
      ["z", "a"],
      ["--prefix", "nothing/here/"],
    ]) {
      await both(["get", ...args]);
    }
  });

  test("get: every order", async () => {
    for (const order of ["ASCEND", "DESCEND"]) {
      for (const target of ["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"]) {
        await both(["get", "--prefix", "", "--order", order, "--sort-by", target, "-w", "json"]);
        await both(["get", "--prefix", "/", "--order", order, "--sort-by", target, "--limit", "2"]);
      }
    }
  });

  test("get at older revisions", async () => {
    for (let rev = 1; rev <= 14; rev++) {
      await both(["get", "--prefix", "", "--rev", String(rev), "-w", "json"]);
      await both(["get", "foo", "--rev", String(rev), "-w", "json"]);
    }
    await both(["get", "foo", "--rev", "1000000"]);
    await both(["get", "--prefix", "", "--rev", "1000000"]);
  });

  test("txn", async () => {
    for (const input of [
      'value("foo") = "second"\n\nput foo third\nget foo\n\nget foo\n\n',
      'value("foo") = "second"\n\nput foo fourth\n\nget foo\nput foo/child x\n\n',
      'mod("foo") > "1"\ncreate("foo") < "100"\nversion("missing") = "0"\n\nget foo\n\n\n',
      'version("/apisix/routes/1") = "1"\n\ndel /apisix/routes/1\nget --prefix /apisix/routes/\n\n\n',
      // no writes: any number of shards
      'version("foo") > "0"\nversion("/registry/pods/ns/a") = "1"\n\nget --prefix /\nget config\n\n\n',
      'version("foo") = "0"\n\n\nget zebra\nget --prefix /apisix/\n\n',
      "\nput foo 1\nput foo 2\n\n\n", // twice the same key
    ]) {
      await both(["txn", "-w", "json"], input);
    }
    await both(["get", "--prefix", "", "-w", "json"]);
  });

  test("del", async () => {
    await both(["del", "/apisix/routes/2", "--prev-kv"]);
    await both(["del", "missing", "-w", "json"]);
    await both(["del", "--prefix", "/registry/pods/", "-w", "json"]);
    await both(["del", ""]);
    await both(["get", "--prefix", "", "-w", "json"]);
  });

  test("watch from the past, with previous values and filters", async (t) => {
    for (const args of [
      ["--prefix", "", "--rev", "1", "--prev-kv"],
      ["--prefix", "/apisix/", "--rev", "2"],
      ["--prefix", "", "--rev", "5"],
      ["foo", "--rev", "1"],
    ]) {
      const [expected, actual] = [plain, store].map(({ endpoint }) => {
        const running = startEtcdctl(endpoint, "watch", ...args);
        t.after(() => running.kill("SIGKILL"));
        return running;
      });
      // A last event that all of them see, newer than all others.
      const key = args[0] === "foo" ? "foo" : "/apisix/routes/last";
      const value = `end of ${args.join(" ")}`;
      await both(["put", key, value]);
      await Promise.all([expected, actual].map((watch) => watch.says(new RegExp(`${literally(value)}\n`))));
      assert.equal(actual.output, expected.output, args.join(" "));
    }
  });

  test("compaction", async () => {
    await both(["compaction", "12"]);
    await both(["get", "--prefix", "", "--rev", "11", "-w", "json"]);
    await both(["get", "foo", "--rev", "11"]);
    await both(["get", "--prefix", "", "--rev", "12", "-w", "json"]);
    await both(["get", "--prefix", "", "--rev", "13", "-w", "json"]);
    await both(["compaction", "12"]);
    await both(["compaction", "1000000"]);
    await both(["get", "--prefix", "", "-w", "json"]);
  });

  test("a watch from a compacted revision ends with etcd's error", async () => {
    const results = await Promise.all(
      [plain, store].map(async ({ endpoint }) => {
        const { code, stdout, stderr } = await etcdctl(endpoint, "watch", "--prefix", "", "--rev", "2");
        return { code, stdout, stderr: masked(stderr) };
      }),
    );
    assert.deepEqual(results[1], results[0]);
    assert.match(results[1].stderr, /required revision has been compacted/);
  });

  // Last, because on several shards it takes several revisions.
  test("del over several shards", async () => {
    await both(["del", "--prefix", "/"]);
    await both(["get", "--prefix", "", "--keys-only"]);
    await both(["del", "--from-key", ""]);
    await both(["get", "--prefix", "", "--count-only"]);
  });
});

test("a txn that would write on two shards is refused and names the keys", async () => {
  // Which of many groups share a shard is not known here; at least two of them do not.
  const puts = Array.from({ length: 20 }, (_, i) => `put /registry/refused${i}/key v`).join("\n");
  const { code, stderr } = await etcdctlWithInput(store.endpoint, `\n${puts}\n\n\n`, "txn");
  assert.notEqual(code, 0);
  assert.match(stderr, /InvalidArgument/);
  assert.match(stderr, /\/registry\/refused\d+\/key/);
  assert.match(stderr, /shard0/);
  assert.equal(await run("get", "--prefix", "/registry/refused"), "");
});

test("watch: live events of all shards in order, until cancelled", async (t) => {
  const watch = start(t, "watch", "--prefix", "/registry/live");
  const late = start(t, "watch", "/registry/live7/key");
  // A watch has no sign of having begun but its events: put until the first one is seen.
  for (const running of [watch, late]) {
    await until("the watch has begun", async () => {
      await run("put", "/registry/live7/key", "begin");
      return /PUT/.test(running.output);
    });
  }
  const expected: string[] = [];
  for (let i = 0; i < 12; i++) {
    await run("put", `/registry/live${i}/key`, `value ${i}`);
    expected.push(`PUT\n/registry/live${i}/key\nvalue ${i}\n`);
  }
  await assertSpread("/registry/live");
  await run("del", "/registry/live3/key");
  expected.push("DELETE\n/registry/live3/key\n\n");
  await watch.says(/DELETE\n.*\n\n/);
  assert.ok(watch.output.endsWith(expected.join("")), watch.output);
  await late.says(/value 7\n/);
  assert.doesNotMatch(late.output, /value [^7]/);
});

test("lease: grant, timetolive, keep-alive, list and revoke, with keys on several shards", async (t) => {
  const granted = await run("lease", "grant", "60");
  const id = /^lease (\w+) granted with TTL\(60s\)\n$/.exec(granted)?.[1] ?? assert.fail(granted);
  const keys = Array.from({ length: 8 }, (_, i) => `/registry/leased${i}/key`);
  for (const key of keys) await run("put", key, "v", "--lease", id);
  await assertSpread("/registry/leased");
  const info = await run("lease", "timetolive", id, "--keys");
  const listed = /^lease \w+ granted with TTL\(60s\), remaining\((\d+)s\), attached keys\(\[(.*)\]\)\n$/.exec(
    info,
  );
  assert.ok(listed, info);
  assert.deepEqual(listed[2].split(" ").toSorted(), keys);
  assert.match(await run("lease", "list"), new RegExp(`^found 1 leases\n${id}\n$`));
  const alive = start(t, "lease", "keep-alive", id);
  await alive.says(new RegExp(`lease ${id} keepalived with TTL\\(60\\)`));
  alive.kill("SIGKILL");
  assert.equal(await run("lease", "revoke", id), `lease ${id} revoked\n`);
  assert.equal(await run("get", "--prefix", "/registry/leased", "--keys-only"), "");
  assert.equal(await run("lease", "timetolive", id), `lease ${id} already expired\n`);
  assert.equal(await run("lease", "list"), "found 0 leases\n");
  const again = await etcdctl(store.endpoint, "lease", "revoke", id);
  assert.match(again.stderr, /requested lease not found/);
});

test("a lease that nobody keeps alive takes its keys on all shards with it", async (t) => {
  const granted = await run("lease", "grant", "2");
  const id = /^lease (\w+) /.exec(granted)![1];
  const rev = JSON.parse(await run("get", "x", "-w", "json")).header.revision;
  const keys = Array.from({ length: 6 }, (_, i) => `/registry/expiring${i}/key`);
  for (const key of keys) await run("put", key, "v", "--lease", id);
  const watch = start(t, "watch", "--prefix", "/registry/expiring", "--rev", String(rev + 1));
  await watch.says(/(DELETE\n.+\n[\s\S]*){6}/);
  const deleted = [...watch.output.matchAll(/DELETE\n(.*)\n/g)].map(([, key]) => key);
  assert.deepEqual(deleted.toSorted(), keys);
  assert.equal(await run("get", "--prefix", "/registry/expiring", "--keys-only"), "");
});

test("lock: held by one at a time, handed on when it is released", async (t) => {
  const first = start(t, "lock", "/locks/mine");
  const [held] = await first.says(/^\/locks\/mine\/[0-9a-f]+\n/);
  const second = start(t, "lock", "/locks/mine");
  // The second one waits in line: its key is there, and it has said nothing.
  await until("the second one is in line", async () => {
    const keys = await run("get", "--prefix", "/locks/mine/", "--keys-only");
    return keys.split("\n").filter(Boolean).length === 2;
  });
  assert.equal(second.output, "");
  assert.equal(await first.stop(), 0);
  const [next] = await second.says(/^\/locks\/mine\/[0-9a-f]+\n/);
  assert.notEqual(next, held);
  await second.stop();
  assert.equal(await run("get", "--prefix", "/locks/mine/"), "");
});

test("lock runs a command and gives its exit code", async () => {
  const { code, stdout } = await etcdctl(
    store.endpoint,
    "lock",
    "plainlock",
    "--",
    "sh",
    "-c",
    "echo $ETCD_LOCK_KEY",
  );
  assert.match(stdout, /^plainlock\/[0-9a-f]+\n$/);
  assert.equal(code, 0);
});

test("elect: one leader, seen by observers, followed by the next", async (t) => {
  const observer = start(t, "elect", "--listen", "/election/main");
  const first = start(t, "elect", "/election/main", "alpha");
  await first.says(/^\/election\/main\/[0-9a-f]+\nalpha\n/);
  const second = start(t, "elect", "/election/main", "beta");
  await observer.says(/alpha\n/);
  await first.stop();
  await second.says(/^\/election\/main\/[0-9a-f]+\nbeta\n/);
  await observer.says(/beta\n/);
  await second.stop();
});

test("endpoint health and status", async () => {
  const health = await etcdctl(store.endpoint, "endpoint", "health");
  assert.match(health.stdout + health.stderr, new RegExp(`^${store.endpoint} is healthy: `));
  assert.equal(health.code, 0);
  const [{ Status: status }] = JSON.parse(await run("endpoint", "status", "-w", "json"));
  assert.match(status.version, /^3\.\d+\.\d+/);
  assert.equal(status.leader, status.header.member_id);
  assert.ok(status.dbSize > 0);
  const { header } = JSON.parse(await run("get", "x", "-w", "json"));
  assert.equal(status.header.cluster_id, header.cluster_id);
  assert.equal(status.header.member_id, header.member_id);
  assert.ok(header.revision >= status.header.revision);
});

test("member list shows the proxy, and --cluster leads to it", async () => {
  const { members } = JSON.parse(await run("member", "list", "-w", "json"));
  assert.deepEqual(
    members.map((member: { clientURLs: string[] }) => member.clientURLs),
    [[`http://${store.endpoint}`]],
  );
  const health = await etcdctl(store.endpoint, "endpoint", "health", "--cluster");
  assert.match(health.stdout + health.stderr, new RegExp(`http://${store.endpoint} is healthy`));
});

test("what there is not says what to do instead", async () => {
  // A file of ours: etcdctl renames what it wrote over whatever stands there.
  const args = ["snapshot", "save", join(temporaryFolder(), "snapshot")];
  const { code, stdout, stderr } = await etcdctl(store.endpoint, ...args);
  assert.notEqual(code, 0);
  assert.match(stdout + stderr, /Unimplemented.*etcd-braid: .*braid snapshot save/);
});
