import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog, readable } from "../../src/ops/log.js";

function capture(level: "info" | "silent" = "info") {
  const lines: string[] = [];
  return { lines, log: createLog(level, { write: (line) => lines.push(line) }) };
}

test("secrets are never written", () => {
  const { lines, log } = capture();
  log.info({ token: "t0p", request: { password: "s3cret", user: "me" } }, "authenticate");
  assert.doesNotMatch(lines[0], /t0p|s3cret/);
  assert.equal(JSON.parse(lines[0]).request.user, "me");
});

test("lines below the level are not written", () => {
  const { lines, log } = capture();
  log.debug("not this");
  log.warn("this");
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).msg),
    ["this"],
  );
  const quiet = capture("silent");
  quiet.log.fatal("nothing at all");
  assert.deepEqual(quiet.lines, []);
});

test("on a terminal, a line has time, level, message and fields", () => {
  const { lines, log } = capture();
  log.warn({ shard: "a", endpoint: "[::1]:2379", err: new Error("it broke") }, "connection lost");
  assert.match(
    readable(lines[0]),
    /^\d\d:\d\d:\d\d\.\d{3} WARN {2}connection lost {2}shard=a {2}endpoint="\[::1\]:2379" {2}err="it broke"$/,
  );
});
