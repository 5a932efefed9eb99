import assert from "node:assert/strict";
import { test } from "node:test";
import { createRouter } from "../../src/routing/create.js";
import type { RoutingRule } from "../../src/routing/map.js";
import { bytes, Random, rule, seed, shards, text } from "./support.js";

const three = shards("a", "b", "c");

async function groupsOf(rules: RoutingRule[]) {
  const router = await createRouter({ shards: three, rules });
  return (key: string) => text(router.explain(bytes(key)).group);
}

test("by default, a directory entry and its contents are one group", async () => {
  const group = await groupsOf([]);
  for (const key of ["/apisix/routes", "/apisix/routes/", "/apisix/routes/1", "/apisix/routes/1/x"]) {
    assert.equal(group(key), "/apisix/routes", key);
  }
  assert.equal(group("/registry/pods/ns/name"), "/registry/pods");
  assert.equal(group("/apisix/routes2/1"), "/apisix/routes2");
  assert.equal(group("/apisix"), "/apisix");
  assert.equal(group("/apisix/"), "/apisix");
});

test("by default, what a client builds from a name and a slash stays together", async () => {
  const group = await groupsOf([]);
  for (const key of ["mylock", "mylock/", "mylock/694d7c3a", "mylock/694d7c3a/x"]) {
    assert.equal(group(key), "mylock", key);
    assert.equal(group(`/${key}`), "/mylock", key);
  }
  assert.equal(group("foo"), "foo");
});

test("consecutive delimiters separate nothing", async () => {
  const group = await groupsOf([]);
  assert.equal(group("/apisix//b/c"), "/apisix//b");
  assert.equal(group("/apisix/b//"), "/apisix/b");
  assert.equal(group("//a/b/c"), "//a");
  assert.equal(group("/"), "");
  assert.equal(group("///"), "");
  assert.equal(group("a//"), "a");
});

test("keys are bytes", async () => {
  const group = await groupsOf([]);
  assert.equal(group("/\xff\xfe/\x00\x80/x"), "/\xff\xfe");
  assert.equal(group("\xc3/\xa9"), "\xc3");
});

test("the longest matching prefix decides, alone", async () => {
  const group = await groupsOf([rule("/t/", 2), rule("/t/big/", 1), rule("user:", 1, undefined, ":")]);
  assert.equal(group("/t/acme/app/1"), "/t/acme/app");
  assert.equal(group("/t/big/app/1"), "/t/big/app");
  assert.equal(group("/t/bigger/app/1"), "/t/bigger/app");
  assert.equal(group("/t"), "/t");
  assert.equal(group("/t/"), "/t");
  assert.equal(group("user:42:name/first"), "user:42");
  assert.equal(group("user:42/x:name"), "user:42/x");
  assert.equal(group("user/42"), "user");
});

test("a prefix need not end with a delimiter", async () => {
  const group = await groupsOf([rule("/app", 1)]);
  assert.equal(group("/app/x/y"), "/app/x");
  assert.equal(group("/apple/x/y"), "/apple");
  assert.equal(group("/app"), "/app");
});

test("with no segments the whole prefix is one group", async () => {
  const group = await groupsOf([rule("/locks/", 0)]);
  assert.equal(group("/locks/a/b"), "/locks");
  assert.equal(group("/locks/"), "/locks");
  assert.equal(group("/locks"), "/locks");
});

test("a rule for the empty prefix replaces the defaults", async () => {
  const group = await groupsOf([rule("", 3)]);
  assert.equal(group("/a/b/c/d"), "/a/b/c");
  assert.equal(group("a/b/c/d"), "a/b/c");
});

test("a custom rule for paths leaves the default for other keys", async () => {
  const group = await groupsOf([rule("/", 1)]);
  assert.equal(group("/a/b/c"), "/a");
  assert.equal(group("a/b/c"), "a");
});

test("random keys match the literal definition of groups", async (t) => {
  t.diagnostic(`SEED=${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 200; round++) {
    const prefix = random.text("ab/", 3);
    const segments = random.below(4);
    const group = await groupsOf([rule("", 1), ...(prefix ? [rule(prefix, segments)] : [])]);
    for (let i = 0; i < 50; i++) {
      const key = random.text("ab/", 8);
      const matches = prefix !== "" && key.startsWith(prefix);
      assert.equal(
        group(key),
        literalGroup(key, matches ? prefix : "", matches ? segments : 1),
        `${prefix} ${key}`,
      );
    }
  }
});

/** The definition of groups, by a regular expression instead of a scan. */
function literalGroup(key: string, prefix: string, segments: number): string {
  const match = new RegExp(`^(/*[^/]+){${segments}}(?=/|$)`).exec(key.slice(prefix.length));
  const end = segments === 0 ? prefix : match ? prefix + match[0] : key;
  return match && segments > 0 ? end : end.replace(/\/+$/, "");
}
