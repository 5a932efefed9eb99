import assert from "node:assert/strict";
import { test } from "node:test";
import { serverProblem } from "../../src/tls/reason.js";

test("a connection that is reset in its TLS handshake, and one that is reset later", () => {
  const reset = { code: "ECONNRESET", message: "read ECONNRESET" };
  assert.equal(
    serverProblem(reset, { name: "etcd.example" }, false),
    "it ended the TLS handshake (does it speak TLS?)",
  );
  assert.equal(serverProblem(reset, { name: "etcd.example" }, true), undefined);
});
