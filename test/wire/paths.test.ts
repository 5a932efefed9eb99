import assert from "node:assert/strict";
import { test } from "node:test";
import protobuf from "protobufjs";
import * as paths from "../../src/wire/paths.js";
import { root } from "./reference.js";

test("there is a path for every method of every service, and no other", () => {
  const expected: Record<string, Record<string, string>> = {};
  const visit = (namespace: protobuf.NamespaceBase): void => {
    for (const nested of namespace.nestedArray) {
      if (nested instanceof protobuf.Service) {
        const service = nested.fullName.slice(1);
        const methods = nested.methodsArray.map(({ name }) => [name, `/${service}/${name}`]);
        expected[nested.name] = Object.fromEntries(methods);
      } else if (nested instanceof protobuf.Namespace) {
        visit(nested);
      }
    }
  };
  visit(root);
  assert.deepEqual({ ...paths }, expected);
  assert.equal(paths.KV.Range, "/etcdserverpb.KV/Range");
});
