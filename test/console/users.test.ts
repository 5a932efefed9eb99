import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { as, OWN, ok, ROOT, startGuardedStore } from "../auth/support.js";
import { startEtcdctl } from "../support/etcdctl.js";
import type { TestStore } from "../support/store.js";
import { until } from "../support/until.js";
import { base64url, consoleConfig, textOf, Visitor } from "./support.js";

const ANNA = "anna:anna-secret-1";
const REPORTS = ["overview", "keys", "readable", "key", "versions", "version", "watches", "plan", "groups"];

describe("the console of a store with authentication", () => {
  let store: TestStore;
  let address: string;
  const root = (...args: string[]) => ok(as(ROOT, store.endpoint, ...args));
  const visit = () => new Visitor(address);
  const enter = async (user: string) => {
    const visitor = visit();
    const [name, password] = user.split(":") as [string, string];
    assert.equal((await visitor.login(name, password)).status, 200);
    return visitor;
  };

  before(async () => {
    // A password of the console has no meaning here: it must not let anybody in.
    const config = await consoleConfig({ password: "console-secret-3" });
    address = config.metrics.listen;
    const rules = ["/other/", "/team/inner/"].map((prefix) => ({ prefix, shard: "shard1" }));
    store = await startGuardedStore({ shards: 2, config: { ...config, routing: { rules } } });
    await root("role", "add", "team");
    await root("role", "grant-permission", "team", "--prefix=true", "read", "/team/");
    await root("user", "add", ANNA);
    await root("user", "grant-role", "anna", "team");
    for (const [key, value] of [
      ["/team/a", "one"],
      ["/team/a", "two"],
      ["/other/b", "hidden-value-8"],
    ])
      await root("put", key!, value!);
  });
  after(() => store.remove());

  test("nothing but the page itself is shown without a login", async () => {
    const session = await visit().api("session");
    assert.deepEqual(
      [session.json.mode, session.json.isSignedIn, session.json.user, session.json.isOperator],
      ["user", false, null, false],
    );
    for (const report of REPORTS) {
      const { status, json } = await visit().api(report, {
        key: base64url("/team/a"),
        before: 9,
        revision: 9,
      });
      assert.deepEqual([report, status, json], [report, 401, { error: "log in first" }]);
    }
    const forged = visit();
    forged.cookie = `braid-console=${base64url("x".repeat(32))}`;
    assert.equal((await forged.api("overview")).status, 401);
    assert.equal((await visit().send("/console/")).status, 200);
  });

  test("a wrong password and an unknown user cannot be told apart, and the console's password is none", async () => {
    const wrong = await visit().login("anna", "wrong");
    const unknown = await visit().login("nobody", "wrong");
    const console = await visit().login("", "console-secret-3");
    for (const { status, json } of [wrong, unknown, console])
      assert.deepEqual([status, json], [401, { error: "the user or the password is wrong" }]);
  });

  test("an operator sees members, addresses, watches by user, and all keys", async () => {
    const visitor = await enter(ROOT);
    const session = await visitor.api("session");
    assert.deepEqual([session.json.user, session.json.isOperator], ["root", true]);
    const { json } = await visitor.api("overview");
    assert.deepEqual(
      json.shards.map(({ name, state }: { name: string; state: string }) => [name, state]),
      [
        ["shard0", "ok"],
        ["shard1", "ok"],
      ],
    );
    assert.equal(json.shards[0].members[0].endpoint, store.shards[0]!.endpoint);
    assert.equal(json.shards[0].members[0].state, "leader");
    const watch = startEtcdctl(store.endpoint, "--user", ANNA, "watch", "--prefix", "/team/");
    try {
      let clients: {
        watches: number;
        user: string;
        client: string;
        shown: { key: string; rangeEnd: string }[];
      }[] = [];
      await until("the watch is there", async () => {
        ({ clients } = (await visitor.api("watches")).json);
        return clients[0]?.watches === 1;
      });
      const [client] = clients;
      assert.equal(client!.user, "anna");
      assert.match(client!.client, /^127\.0\.0\.1:\d+$/);
      assert.deepEqual(
        client!.shown.map(({ key, rangeEnd }) => [textOf(key), textOf(rangeEnd)]),
        [["/team/", "/team0"]],
      );
    } finally {
      watch.kill("SIGKILL");
    }
    const keys = await visitor.api("keys", { prefix: base64url("/") });
    assert.deepEqual(
      keys.json.entries.map(({ prefix, keys }: { prefix: string; keys: number }) => [textOf(prefix), keys]),
      [
        ["/other/", 1],
        ["/team/", 1],
      ],
    );
  });

  test("a user sees only what it may read", async () => {
    const visitor = await enter(ANNA);
    assert.equal((await visitor.api("session")).json.isOperator, false);
    const team = await visitor.api("keys", { prefix: base64url("/team/") });
    assert.deepEqual([team.status, textOf(team.json.entries[0].key)], [200, "/team/a"]);
    const own = await visitor.api("key", { key: base64url("/team/a") });
    assert.equal(textOf(own.json.current.value), "two");
    const past = await visitor.api("versions", {
      key: base64url("/team/a"),
      before: own.json.current.modRevision,
    });
    assert.equal(textOf(past.json.versions[0].value), "one");
    const readable = await visitor.api("readable");
    assert.deepEqual(
      readable.json.map(({ prefix }: { prefix: string }) => textOf(prefix)),
      ["/team/"],
    );
    const other = base64url("/other/b");
    const refused = [
      await visitor.api("keys"),
      await visitor.api("keys", { prefix: base64url("/") }),
      await visitor.api("keys", { prefix: base64url("/team/"), from: other }),
      await visitor.api("key", { key: other }),
      await visitor.api("versions", { key: other, before: 99 }),
      await visitor.api("version", { key: other, revision: 2 }),
      await visitor.api("watches"),
      await visitor.api("plan"),
    ];
    assert.deepEqual(
      refused.map(({ status }) => status),
      refused.map(() => 403),
    );
    for (const { body } of refused) assert.doesNotMatch(body, /hidden-value-8|aGlkZGVuLXZhbHVlLTg/);
  });

  test("a user without the role root sees no addresses, and nobody sees secrets", async () => {
    const anna = await enter(ANNA);
    const overview = (await anna.api("overview")).body;
    for (const { endpoint } of store.shards) assert.ok(!overview.includes(endpoint), overview);
    assert.match(overview, /"endpoint":"1"/);
    const everything = await Promise.all(
      REPORTS.map((report) => anna.api(report, { key: base64url("/team/a") })),
    );
    const operator = await enter(ROOT);
    everything.push(...(await Promise.all(REPORTS.map((report) => operator.api(report)))));
    everything.push(await operator.api("session"));
    for (const { body } of everything)
      assert.doesNotMatch(body, new RegExp(`${OWN.password}|secret|braid1-`), "no password and no token");
    assert.doesNotMatch(store.proxies[0]!.logs(), /anna-secret|root-secret|console-secret|braid1-/);
  });

  test("only operators see which groups there are, and how much is stored", async () => {
    const { json } = await (await enter(ANNA)).api("groups");
    assert.deepEqual([json.groups, json.countedAt], [null, null]);
    for (const { keys, bytes } of json.shards) assert.deepEqual([keys, bytes], [null, null]);
    const prefixes = (report: { rules: { prefix: string }[] }) =>
      report.rules.map(({ prefix }) => prefix).sort();
    assert.deepEqual(prefixes(json), ["", "/team/inner/"], "others' prefixes say who uses the store");
    const operator = await enter(ROOT);
    assert.deepEqual(prefixes((await operator.api("groups")).json), [
      "",
      "/apisix/",
      "/other/",
      "/registry/",
      "/team/inner/",
    ]);
    await until("the console knows the groups", async () => {
      const { groups, countedAt } = (await operator.api("groups")).json;
      return countedAt !== null && Array.isArray(groups);
    });
  });

  test("a session ends with its logout, and when the user is deleted", async () => {
    const visitor = await enter(ANNA);
    const { cookie } = visitor;
    assert.equal((await visitor.send("/console/api/logout", { method: "POST" })).status, 200);
    assert.equal(visitor.cookie, undefined);
    visitor.cookie = cookie;
    assert.equal((await visitor.api("overview")).status, 401);

    const second = await enter(ANNA);
    await root("user", "delete", "anna");
    await until("the user is out", async () => {
      const { status } = await second.api("key", { key: base64url("/team/a") });
      return status === 401;
    });
  });
});
