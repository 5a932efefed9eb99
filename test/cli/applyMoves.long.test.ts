import assert from "node:assert/strict";
import { test } from "node:test";
import type { StatusReport } from "../../src/cli/statusReport.js";
import { SHARD_FLAGS } from "../../src/dev/etcd.js";
import { addRoots, as, CHEAP, OWN, ok, ROOT } from "../auth/support.js";
import { configured, type File, over } from "../store/configured.js";
import { braid } from "../support/braid.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { etcdctl } from "../support/etcdctl.js";
import type { ProxyProcess } from "../support/store.js";
import { until } from "../support/until.js";
import { Applying } from "./applySupport.js";
import { fill, post, serving } from "./planSupport.js";

/* Plans that a running proxy carries out. */

const keys = Array.from({ length: 300 }, (_, i) => `/g${i % 60}/k${i}`).sort();

async function withStore(
  names: string,
  body: (etcds: readonly EtcdProcess[], proxy: ProxyProcess) => Promise<void>,
): Promise<void> {
  const etcds = await startEtcds(3, { flags: SHARD_FLAGS });
  let proxy: ProxyProcess | undefined;
  try {
    proxy = await serving(over(names, etcds));
    await fill(proxy, keys);
    await body(etcds, proxy);
  } finally {
    await proxy?.kill();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
}

const keysAt = async (endpoint: string): Promise<string[]> => {
  const { stdout } = await etcdctl(endpoint, "get", "--prefix", "/", "--keys-only");
  return stdout.split("\n").filter((line) => line !== "");
};

async function status(file: File): Promise<StatusReport> {
  const { path } = await configured(file);
  const { stdout, stderr } = await braid("status", "--json", "--config", path);
  assert.notEqual(stdout, "", stderr);
  return JSON.parse(stdout);
}

test("a store grows from one etcd to three and back, under a client", async () => {
  await withStore("a", async (etcds, proxy) => {
    const [one, two, three] = ["a", "ab", "abc"].map((names) => over(names, etcds));
    for (const [file, shards, number] of [
      [three, 3, 1],
      [two, 2, 2],
      [one, 1, 3],
    ] as const) {
      const applying = await Applying.start(file, "--yes", "--json");
      assert.equal(await applying.done(), 0, applying.text);
      const end = applying.lines.at(-1);
      const counted = applying.lines[0].keys.moving;
      assert.deepEqual([end.type, end.plan, end.keys], ["done", number, counted]);
      assert.ok(counted > 0);
      assert.deepEqual(await keysAt(proxy.endpoint), keys, "no key is lost");
      const held = await Promise.all(etcds.map(({ endpoint }) => keysAt(endpoint)));
      assert.deepEqual(held.flat().sort(), keys, "each key is on one shard");
      assert.deepEqual(
        held.map(({ length }) => length > 0),
        etcds.map((_, i) => i < shards),
      );
      const report = await status(file);
      assert.deepEqual([report.plan, report.isFileInForce], [null, true]);
    }
    // Nothing needs the removed shards once a compaction has passed their last moves.
    const removed = (await status(one)).removed;
    assert.deepEqual(
      removed.map(({ name }) => name),
      ["b", "c"],
    );
    await etcdctl(proxy.endpoint, "put", "/g0/last", "x");
    await post(proxy, "kv/compaction", { revision: Math.max(...removed.map(({ compactAt }) => compactAt!)) });
    await until("the shards are free", async () => (await status(one)).removed.length === 0);
    await Promise.all(etcds.slice(1).map((etcd) => etcd.kill()));
    assert.deepEqual(await keysAt(proxy.endpoint), [...keys, "/g0/last"].sort());
    await etcdctl(proxy.endpoint, "put", "/g1/last", "x");
  });
});

test("a plan that changes only addresses or weights ends, too", async () => {
  await withStore("ab", async (etcds, proxy) => {
    const file = over("ab", etcds);
    file.shards[1].weight = 2;
    const heavier = await Applying.start(file, "--yes", "--json");
    assert.equal(await heavier.done(), 0, heavier.text);
    assert.ok(heavier.lines.at(-1).keys > 0);
    file.shards[1].endpoints = [`localhost:${etcds[1].port}`];
    const elsewhere = await Applying.start(file, "--yes", "--json");
    assert.equal(await elsewhere.done(), 0, elsewhere.text);
    assert.deepEqual([elsewhere.lines.at(-1).plan, elsewhere.lines.at(-1).keys], [2, 0]);
    assert.deepEqual(await keysAt(proxy.endpoint), keys);
    await ok(etcdctl(proxy.endpoint, "put", "/g1/last", "x"));
    const { path } = await configured(file);
    assert.equal((await braid("plan", "--config", path)).code, 0);
  });
});

test("a plan is slowed down, paused, continued and turned back while it runs", async () => {
  await withStore("ab", async (etcds, proxy) => {
    const file = over("abc", etcds);
    const { path } = await configured(file);
    const applying = await Applying.start(file, "--yes", "--json", "--max-keys-per-second", "5");
    await until("a proxy takes the plan", () => applying.lines.some(({ phase }) => phase === "copy"));
    await ok(braid("apply", "--pause", "--config", path));
    await until("it is paused", () => applying.lines.at(-1).state === "paused");
    await ok(braid("apply", "--resume", "--max-keys-per-second", "0", "--config", path));
    const turned = await braid("apply", "--turn-back", "--config", path);
    // The plan may have been done before.
    if (turned.code === 0) {
      assert.match(turned.stdout, /^Plan 1 is turned back: .* as plan 2\.\n(?:.*\n)*Plan 2 is done/m);
      assert.equal(await applying.done(), 1, "the file was not applied");
      assert.deepEqual(await keysAt(etcds[2].endpoint), []);
    } else {
      assert.equal(await applying.done(), 0);
    }
    assert.deepEqual(await keysAt(proxy.endpoint), keys);
  });
});

test("with authentication, a role can write on the shard that has joined", async () => {
  const etcds = await startEtcds(2, { flags: [...CHEAP.flags, ...SHARD_FLAGS] });
  const guarded = (names: string): File => Object.assign(over(names, etcds), { auth: OWN });
  let proxy: ProxyProcess | undefined;
  try {
    for (const { endpoint } of etcds) {
      await addRoots(endpoint);
      await ok(etcdctl(endpoint, "auth", "enable"));
    }
    proxy = await serving(guarded("a"));
    const root = (...args: string[]) => ok(as(ROOT, proxy!.endpoint, ...args));
    await root("role", "add", "writer");
    await root("role", "grant-permission", "writer", "--prefix", "readwrite", "/");
    await root("user", "add", "app:secret");
    await root("user", "grant-role", "app", "writer");
    const { path } = await configured(guarded("ab"));
    await ok(braid("auth", "repair", "--fix", "--source", "a", "--config", path));
    for (const { endpoint } of etcds) await passwd(endpoint, "app", "secret");
    for (let i = 0; i < 20; i++) await root("put", `/k${i}/x`, "x");
    const applying = await Applying.start(guarded("ab"), "--yes");
    assert.equal(await applying.done(), 0, applying.text);
    for (let i = 0; i < 20; i++) await ok(as("app:secret", proxy.endpoint, "put", `/k${i}/x`, "y"));
    const { stdout } = await as(ROOT, etcds[1].endpoint, "get", "--prefix", "/", "--keys-only");
    assert.match(stdout, /^\/k\d+\/x$/m, "it holds keys");
  } finally {
    await proxy?.kill();
    await Promise.all(etcds.map((etcd) => etcd.remove()));
  }
});

async function passwd(endpoint: string, user: string, password: string): Promise<void> {
  const token = await call(endpoint, "authenticate", { name: "root", password: ROOT.split(":")[1] });
  await call(endpoint, "user/changepw", { name: user, password }, (token as { token: string }).token);
}

async function call(endpoint: string, method: string, body: object, token = ""): Promise<unknown> {
  const answer = await fetch(`http://${endpoint}/v3/auth/${method}`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: token === "" ? {} : { authorization: token },
  });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}
