import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { freePort, isFree } from "../../src/dev/ports.js";
import { spawnBraid, temporaryFolder } from "../support/braid.js";
import { etcdctl } from "../support/etcdctl.js";
import { untilGone } from "../support/processes.js";
import { Running } from "../support/running.js";

/** A running `braid dev`, seen as its user sees it. */
class Dev extends Running {
  constructor(...args: string[]) {
    super(spawnBraid(["dev", ...args], { stdio: ["ignore", "pipe", "pipe"] }));
  }

  /** The rows of the table that is printed when everything runs: name → where and process id. */
  async rows(): Promise<Map<string, { where: string; pid: number }>> {
    await this.says(/The store is ready/);
    const found = this.output.matchAll(/^(proxy|shard \w) +(\S+) +(\d+)/gm);
    return new Map([...found].map(([, name, where, pid]) => [name, { where, pid: Number(pid) }]));
  }
}

/** Starts `braid dev`; whatever the test's end, it does not go on. */
function run(t: TestContext, ...args: string[]): Dev {
  const dev = new Dev(...args);
  t.after(() => dev.kill("SIGKILL"));
  return dev;
}

async function start(t: TestContext, data = temporaryFolder()): Promise<{ dev: Dev; data: string }> {
  return { dev: run(t, "--port", String(await freePort()), "--data", data), data };
}

/** Takes a port until the test ends. */
async function occupy(t: TestContext, port: number): Promise<void> {
  const server = createServer().listen(port, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
}

const pidsOf = (rows: Map<string, { pid: number }>) => [...rows.values()].map(({ pid }) => pid);

test("data survives Ctrl-C and a second start, also when a shard's port is taken meanwhile", async (t) => {
  const { dev: first, data } = await start(t);
  const before = await first.rows();
  assert.deepEqual([...before.keys()], ["proxy", "shard a", "shard b", "shard c"]);
  const proxy = before.get("proxy")!.where;
  const [, console] = await first.says(/The console, in a browser: (http:\S+)/);
  assert.match(await (await fetch(`${console}api/session`)).text(), /"isSignedIn":true/);
  const keys = ["/one/a", "/two/b", "/three/c", "four", "five/e", "/six/f/g"];
  for (const key of keys) assert.equal((await etcdctl(proxy, "put", key, `value of ${key}`)).stdout, "OK\n");
  assert.equal(await first.stop(), 0);
  await untilGone(pidsOf(before));

  await occupy(t, Number(before.get("shard b")!.where.split(":")[1]));
  const { dev: second } = await start(t, data);
  const after = await second.rows();
  assert.equal(after.get("shard a")!.where, before.get("shard a")!.where, "ports are remembered");
  assert.notEqual(after.get("shard b")!.where, before.get("shard b")!.where);
  const { stdout } = await etcdctl(after.get("proxy")!.where, "get", "--prefix", "");
  const expected = keys.toSorted().map((key) => `${key}\nvalue of ${key}\n`);
  assert.equal(stdout, expected.join(""));
  assert.equal(await second.stop(), 0);
});

test("crashed processes are reported and started again", async (t) => {
  const { dev } = await start(t);
  const rows = await dev.rows();
  const proxy = rows.get("proxy")!;
  process.kill(rows.get("shard a")!.pid, "SIGKILL");
  await dev.says(/etcd a has ended: it was killed by SIGKILL\. Restarting it/);
  await dev.says(/etcd a is running again \(process \d+\)/);
  process.kill(proxy.pid, "SIGKILL");
  await dev.says(/the proxy has ended: it was killed by SIGKILL\. Restarting it/);
  const [, pid] = await dev.says(/the proxy is running again \(process (\d+)\)/);
  assert.notEqual(Number(pid), proxy.pid);
  const { stdout, stderr } = await etcdctl(proxy.where, "put", "/still/there", "yes");
  assert.equal(stdout, "OK\n", stderr);
  assert.equal(await dev.stop(), 0);
  await untilGone([Number(pid)]);
});

test("no child outlives a parent that is killed with SIGKILL, and the next start goes on", async (t) => {
  const { dev: killed, data } = await start(t);
  const rows = await killed.rows();
  await etcdctl(rows.get("proxy")!.where, "put", "/kept", "yes");
  killed.kill("SIGKILL");
  await untilGone(pidsOf(rows));
  const { dev } = await start(t, data);
  const { stdout } = await etcdctl((await dev.rows()).get("proxy")!.where, "get", "/kept");
  assert.equal(stdout, "/kept\nyes\n");
  await dev.stop();
});

test("a second start in the same folder is refused and disturbs nothing", async (t) => {
  const { dev, data } = await start(t);
  const rows = await dev.rows();
  const { dev: second } = await start(t, data);
  assert.equal(await second.ended, 1);
  await second.says(/is in use by another braid dev \(process \d+\)/);
  assert.equal((await etcdctl(rows.get("proxy")!.where, "put", "/k", "v")).stdout, "OK\n");
  await dev.stop();
});

test("a port that was asked for and is taken: exit code 1 and the next free one", async (t) => {
  const port = await freePort();
  await occupy(t, port);
  const dev = run(t, "--port", String(port), "--data", temporaryFolder());
  assert.equal(await dev.ended, 1);
  const [, next] = await dev.says(new RegExp(`127\\.0\\.0\\.1:${port} is in use .* --port (\\d+)`));
  assert.ok(Number(next) > port);
});

test("without a port and a terminal, a taken 2379 is told and the next free port used", async (t) => {
  if (await isFree(2379)) await occupy(t, 2379);
  const dev = run(t, "--data", temporaryFolder());
  const [, next] = await dev.says(/127\.0\.0\.1:2379 is in use .*Using the next free port, (\d+)/);
  assert.equal((await dev.rows()).get("proxy")!.where, `127.0.0.1:${next}`);
  await dev.stop();
});

test("without etcd on the PATH: exit code 1, and told so", async () => {
  const folder = temporaryFolder();
  const args = ["dev", "--port", String(await freePort()), "--data", folder];
  const dev = new Running(spawnBraid(args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: folder } }));
  assert.equal(await dev.ended, 1);
  await dev.says(/etcd a did not start: there is no etcd on the PATH/);
});

test("--shards grows the store while it is used, and the new shard stays", async (t) => {
  const { dev: first, data } = await start(t);
  const rows = await first.rows();
  const proxy = rows.get("proxy")!.where;
  const keys = Array.from({ length: 40 }, (_, n) => `/g${n}/k`);
  for (const key of keys) assert.equal((await etcdctl(proxy, "put", key, `value of ${key}`)).stdout, "OK\n");
  assert.equal(await first.stop(), 0);

  const second = run(t, "--port", String(await freePort()), "--data", data, "--shards", "4");
  const grown = await second.rows();
  assert.deepEqual([...grown.keys()], ["proxy", "shard a", "shard b", "shard c", "shard d"]);
  await second.says(/plan 1 is done[\s\S]*The store has 4 shards now/i);
  const { stdout } = await etcdctl(grown.get("shard d")!.where, "get", "--prefix", "/", "--keys-only");
  assert.match(stdout, /\/g\d+\/k/, "the new shard has keys");
  assert.equal(await second.stop(), 0);

  const fewer = run(t, "--port", String(await freePort()), "--data", data, "--shards", "3");
  assert.equal(await fewer.ended, 2);
  assert.match(fewer.output, /the store has 4 shards already/);
  const third = run(t, "--port", String(await freePort()), "--data", data);
  const kept = await third.rows();
  assert.equal(kept.size, 5);
  const all = await etcdctl(kept.get("proxy")!.where, "get", "--prefix", "/");
  assert.equal(
    all.stdout,
    keys
      .toSorted()
      .map((key) => `${key}\nvalue of ${key}\n`)
      .join(""),
  );
  assert.equal(await third.stop(), 0);
  assert.doesNotMatch(third.output, /grows/);
});
