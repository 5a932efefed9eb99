import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { etcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { base64url, consoleConfig, textOf, Visitor } from "./support.js";

const HOSTILE = Buffer.concat([Buffer.from("/bad/<img src=x onerror=alert(1)>"), Buffer.of(0xff, 0x01)]);

describe("the console of a store without authentication", () => {
  let store: TestStore;
  let open: Visitor;
  let guarded: Visitor;
  const run = async (...args: string[]) => {
    const { code, stdout, stderr } = await etcdctl(store.endpoint, ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const post = (path: string, body: object) =>
    fetch(`http://${store.endpoint}/v3/kv/${path}`, { method: "POST", body: JSON.stringify(body) });

  before(async () => {
    // The first proxy's console is open, the second one's has a password.
    const configs = [await consoleConfig(), await consoleConfig({ password: "s3cret-password" })];
    store = await startStore({
      shards: 2,
      proxies: 2,
      config: (proxy) => ({ ...configs[proxy]!, http: { hosts: ["127.0.0.1", "console.example"] } }),
    });
    [open, guarded] = configs.map(({ metrics }) => new Visitor(metrics.listen)) as [Visitor, Visitor];
  });
  after(() => store.remove());

  test("every response has the headers that keep other sites out", async () => {
    const paths = [
      "/console/",
      "/console/page.js",
      "/console/page.css",
      "/console/api/session",
      "/console/api/no",
      "/console",
    ];
    for (const path of paths) {
      const { headers } = await open.send(path);
      const policy = headers["content-security-policy"] as string;
      assert.match(
        policy,
        /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';/,
        path,
      );
      assert.match(policy, /base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/);
      assert.doesNotMatch(policy, /unsafe|http|data:/);
      assert.deepEqual(
        [headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]],
        ["nosniff", "DENY", "no-referrer"],
      );
    }
    const { headers } = await open.send("/console/page.js", { headers: { "accept-encoding": "gzip" } });
    assert.equal(headers["content-encoding"], "gzip");
    const again = await open.send("/console/page.js", {
      headers: { "if-none-match": headers.etag as string },
    });
    assert.deepEqual([again.status, again.body], [304, ""]);
  });

  test("no path leads out of the page's folder", async () => {
    const paths = [
      "/console/../../package.json",
      "/console/..%2f..%2fpackage.json",
      "/console/%2e%2e/%2e%2e/package.json",
      "/console//etc/passwd",
      "/console/page.tsx",
      "/console/constructor",
      "/console/__proto__",
      "/console/page.js%00.css",
      "/console/api/../page.html",
      "/console/api/constructor",
    ];
    for (const path of paths) assert.equal((await open.send(path)).status, 404, path);
    assert.equal((await open.send("/consoles")).status, 404);
    assert.equal((await open.send("/health")).status, 200, "the other pages are still there");
  });

  test("nothing takes another method than GET, but login and logout", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
      for (const path of ["/console/", "/console/page.js", "/console/api/overview", "/console/api/keys"]) {
        const { status, headers } = await open.send(path, { method });
        assert.deepEqual([method, path, status, headers.allow], [method, path, 405, "GET"]);
      }
    }
    for (const name of ["login", "logout"]) {
      const { status, headers } = await open.send(`/console/api/${name}`);
      assert.deepEqual([status, headers.allow], [405, "POST"]);
    }
  });

  test("without a login, only addresses and allowed names are served, and no other site", async () => {
    const statusOf = async (headers: Record<string, string>) =>
      (await open.send("/console/api/overview", { headers })).status;
    for (const host of ["127.0.0.1", "localhost:2381", "[::1]:2381", "console.example"])
      assert.equal(await statusOf({ host }), 200, host);
    for (const host of ["evil.example", "127.0.0.1.evil.example", "a b"])
      assert.equal(await statusOf({ host }), 421, host);
    assert.equal(await statusOf({ origin: "http://evil.example" }), 403);
    assert.equal(await statusOf({ origin: "null" }), 403);
    assert.equal(await statusOf({ "sec-fetch-site": "cross-site" }), 403);
    assert.equal(await statusOf({ "sec-fetch-site": "same-origin", origin: `http://${open.address}` }), 200);
  });

  test("malformed requests are refused with a reason", async () => {
    const get = async (path: string) => {
      const { status, json } = await open.send(`/console/api/${path}`);
      assert.equal(typeof json.error, "string");
      return status;
    };
    assert.equal(await get("key"), 400);
    assert.equal(await get("key?key=!!"), 400);
    assert.equal(await get("keys?prefix=a%00"), 400);
    assert.equal(await get("keys?delimiter=YWE"), 400);
    assert.equal(await get(`versions?key=${base64url("/a")}&before=-1`), 400);
    assert.equal(await get("overview?since=soon"), 400);
    assert.equal(await get(`key?key=${base64url("x".repeat(33_000))}`), 400);
    const reserved = await open.api("key", { key: base64url("\0braid") });
    assert.equal(reserved.json.current, null, "the proxies' own keys are not shown");
  });

  test("the overview counts requests, and keeps a history", async () => {
    let json: {
      at: number;
      history: { at: number[]; requests: number[] };
      methods: { method: string }[];
      shards: { name: string; members: { state: string; version: string; size: number }[] }[];
    };
    await until("the calls are in the samples", async () => {
      await run("put", "/count/a", "1");
      ({ json } = await open.api("overview"));
      return json.history.at.length >= 3 && json.methods.some(({ method }) => method === "KV.Put");
    });
    assert.deepEqual(
      json!.shards.map(({ name }) => name),
      ["shard0", "shard1"],
    );
    const [member] = json!.shards[0]!.members;
    assert.equal(member!.state, "leader");
    assert.match(member!.version, /^3\./);
    assert.ok(member!.size > 0);
    assert.ok(Math.max(...json!.history.requests) > 0);
    const since = json!.history.at.at(-1)!;
    const newer = await open.api("overview", { since });
    assert.ok(newer.json.history.at.every((at: number) => at > since));
  });

  test("the tree of keys has every key once, over all its pages", async () => {
    const puts = [];
    for (let i = 0; i < 230; i++) puts.push(`/tree/${String(i).padStart(3, "0")}${i % 2 ? "" : "/a"}`);
    for (let i = 0; i < 150; i++) puts.push(`/tree/big/${i}`);
    await Promise.all(puts.map((key) => post("put", { key: Buffer.from(key).toString("base64") })));
    const entries: { kind: string; key?: string; prefix?: string; keys?: number }[] = [];
    const query: Record<string, string> = { prefix: base64url("/tree/") };
    let pages = 0;
    for (let next: string | null = ""; next !== null; pages++) {
      const { json } = await open.api("keys", next === "" ? query : { ...query, from: next });
      if (pages === 0) assert.equal(json.keys, 380);
      entries.push(...json.entries);
      next = json.next;
    }
    assert.ok(pages >= 2 && pages < 10, String(pages));
    const names = entries.map(({ key, prefix }) => textOf(key ?? prefix ?? ""));
    const wanted = [...new Set(puts.map((key) => /^\/tree\/[^/]+\/?/.exec(key)![0]))].sort();
    assert.deepEqual(names, wanted);
    assert.equal(entries.find(({ prefix }) => prefix === base64url("/tree/big/"))!.keys, 150);
    const top = await open.api("keys", { prefix: base64url("/") });
    const tree = top.json.entries.find(({ prefix }: { prefix: string }) => textOf(prefix) === "/tree/");
    assert.equal(tree.keys, 380);
  });

  test("a key has its value, lease, place and past, as far as it is not compacted", async () => {
    const lease = /lease (\w+) granted/.exec(await run("lease", "grant", "3600"))![1]!;
    for (const value of ["one", "two"]) await run("put", "/deep/key", value);
    await run("put", `--lease=${lease}`, "/deep/key", "three");
    const key = base64url("/deep/key");
    const { json } = await open.api("key", { key });
    assert.deepEqual(
      [textOf(json.current.value), json.current.version, json.current.isWhole],
      ["three", 3, true],
    );
    assert.equal(json.lease.id, BigInt(`0x${lease}`).toString());
    assert.ok(json.lease.ttl > 3500 && json.lease.grantedTtl === 3600);
    assert.match(json.place.shard, /^shard[01]$/);
    assert.deepEqual(
      [textOf(json.place.group), json.place.rule],
      ["/deep", 'every other key: 1 segment by "/"'],
    );
    const past = await open.api("versions", { key, before: json.current.modRevision });
    assert.deepEqual(
      past.json.versions.map(({ value }: { value: string }) => textOf(value)),
      ["two", "one"],
    );
    assert.deepEqual([past.json.next, past.json.end], [null, "created"]);
    await run("compact", String(json.current.modRevision));
    const compacted = await open.api("versions", { key, before: json.current.modRevision });
    assert.deepEqual([compacted.json.versions, compacted.json.end], [[], "compacted"]);
    const none = await open.api("key", { key: base64url("/deep/none") });
    assert.equal(none.json.current, null);
    assert.match(none.json.place.shard, /^shard[01]$/, "where it would go");
  });

  test("keys and values that are not text stay as they are; a large value comes whole on request", async () => {
    const value = Buffer.alloc(1024 * 1024, 0xff);
    const put = await post("put", { key: HOSTILE.toString("base64"), value: value.toString("base64") });
    assert.equal(put.status, 200);
    const key = base64url(HOSTILE);
    const part = (await open.api("key", { key })).json.current;
    assert.deepEqual([part.size, part.isWhole], [value.length, false]);
    const whole = (await open.api("key", { key, whole: 1 })).json.current;
    assert.ok(whole.isWhole && Buffer.from(whole.value, "base64url").equals(value));
    const { json } = await open.api("keys", { prefix: base64url("/bad/") });
    assert.deepEqual(json.entries, [{ kind: "key", key }]);
  });

  test("with a password, one has to log in, and guesses are bounded", async () => {
    assert.equal((await guarded.api("session")).json.mode, "password");
    assert.equal((await guarded.api("overview")).status, 401);
    assert.equal((await guarded.login("", "wrong", { origin: "http://evil.example" })).status, 403);
    assert.equal((await guarded.login("", "wrong", { "content-type": "text/plain" })).status, 415);
    const large = JSON.stringify({ password: "x".repeat(20_000) });
    const headers = { "content-type": "application/json" };
    const tooLarge = await guarded.send("/console/api/login", { method: "POST", headers, body: large });
    assert.equal(tooLarge.status, 413);
    const answer = await guarded.login("", "s3cret-password");
    assert.equal(answer.status, 200);
    const [cookie] = answer.headers["set-cookie"]!;
    assert.match(cookie!, /^braid-console=[\w-]{43}; Path=\/console\/; HttpOnly; SameSite=Strict$/);
    assert.equal((await guarded.api("overview")).status, 200);
    assert.equal((await guarded.api("watches")).status, 200);
    const others = new Visitor(guarded.address);
    const statuses = [];
    for (let i = 0; i < 12; i++) statuses.push((await others.login("", `guess ${i}`)).status);
    assert.deepEqual(statuses, [...Array(10).fill(401), 429, 429]);
    const late = await others.login("", "s3cret-password");
    assert.equal(late.status, 429);
    assert.ok(Number(late.headers["retry-after"]) <= 60);
    assert.equal((await guarded.api("overview")).status, 200, "sessions go on");
    assert.doesNotMatch(store.proxies[1]!.logs(), /s3cret-password|guess/);
    assert.match(store.proxies[1]!.logs(), /"client":"127\.0\.0\.1".*"msg":"login to the console failed"/);
  });

  test("while a shard is down, the console says so and shows the others", async () => {
    await store.shards[1]!.stop();
    await until("the shard is down", async () => {
      const { json } = await open.api("overview");
      return json.shards[1].state === "down" && json.shards[1].members[0].problems.length > 0;
    });
    const { json, status } = await open.api("keys");
    assert.equal(status, 503);
    assert.match(json.error, /shard "shard1"/);
    const overview = await open.api("overview");
    assert.equal(overview.json.shards[0].state, "ok");
    await store.shards[1]!.restart();
    await until("the shard is back", async () => (await open.api("overview")).json.shards[1].state === "ok");
  });
});
