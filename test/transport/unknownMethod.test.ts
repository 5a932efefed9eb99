import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/status/error.js";
import { unknownMethod } from "../../src/transport/http2/unknownMethod.js";

test("errors for unknown methods have the texts of etcd's gRPC server, and a bounded length", () => {
  const services = new Set(["etcdserverpb.KV"]);
  const text = (path: string) => {
    const { code, message } = unknownMethod(path, services);
    assert.equal(code, Code.UNIMPLEMENTED);
    return message;
  };
  assert.equal(text("/etcdserverpb.KV/Nonsense"), "unknown method Nonsense for service etcdserverpb.KV");
  assert.equal(text("/a.B/C/Nonsense"), "unknown service a.B/C");
  assert.equal(text("/nonsense"), 'malformed method name: "/nonsense"');
  assert.ok(text(`/${"x".repeat(10_000)}/y`).length < 300);
});
