import assert from "node:assert/strict";
import { test } from "node:test";
import * as paths from "../../src/wire/paths.js";
import { EVERY_CALL } from "./everyCall.js";
import { testEveryCall } from "./everyCallTests.js";

test("every method of etcd is called", () => {
  const called = new Set(EVERY_CALL.map(({ path }) => path));
  const services: Record<string, Record<string, string>> = { ...paths };
  const all = Object.values(services).flatMap((service) => Object.values(service));
  assert.deepEqual(
    all.filter((path) => !called.has(path)),
    [],
  );
});

testEveryCall("a shard");
