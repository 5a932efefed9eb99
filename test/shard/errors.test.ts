import assert from "node:assert/strict";
import { test } from "node:test";
import { answered, classify, connectionReason } from "../../src/shard/errors.js";
import { Code } from "../../src/status/error.js";

test("a status is classified by what it means for the request", () => {
  const table: [code: number, details: string, failure: string][] = [
    [Code.UNAVAILABLE, "etcdserver: no leader", "etcd"],
    [Code.UNAVAILABLE, "etcdserver: request timed out", "etcd"],
    [Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", "etcd"],
    [Code.UNAVAILABLE, "No connection established. Last error: x. Resolution note: ", "unsent"],
    [Code.UNAVAILABLE, "Stream refused by server", "unsent"],
    [Code.INTERNAL, "Failed to start HTTP/2 stream with error x", "unsent"],
    [Code.UNAVAILABLE, "Channel closed before call started", "unsent"],
    [Code.UNAVAILABLE, "Connection dropped", "lost"],
    [Code.UNAVAILABLE, "read ECONNRESET", "lost"],
    [
      Code.INTERNAL,
      "Received RST_STREAM with code 2 triggered by internal client error: write EPIPE",
      "lost",
    ],
    [Code.CANCELLED, "Call cancelled", "lost"],
    [Code.UNAVAILABLE, "anything else", "lost"],
    [Code.UNIMPLEMENTED, "unknown method Nonsense", "answer"],
    [Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (2 vs. 1)", "answer"],
  ];
  for (const [code, details, failure] of table) assert.equal(classify({ code, details }), failure, details);
});

test("an answer keeps its code and text; a code that gRPC does not have becomes UNKNOWN", () => {
  assert.deepEqual(
    { ...answered({ code: 9, details: "x" }) },
    { ...answered({ code: 9, details: "x" }), code: 9 },
  );
  assert.equal(answered({ code: 9, details: "as it is" }).message, "as it is");
  for (const code of [0, 17, -1, Number.NaN])
    assert.equal(answered({ code, details: "" }).code, Code.UNKNOWN);
});

test("reasons for failed connections are short", () => {
  const library = (text: string) =>
    `No connection established. Last error: ${text} (2026-11-22T13:00:00.000Z). Resolution note: `;
  assert.equal(connectionReason(library("Error: connect ECONNREFUSED 127.0.0.1:1")), "connection refused");
  assert.equal(
    connectionReason(
      "No connection established. Last error: Error: connect ECONNREFUSED ::1:1. Resolution note: ",
    ),
    "connection refused",
  );
  assert.equal(connectionReason(library("Failed to connect")), "connection closed during setup");
  assert.equal(connectionReason("getaddrinfo ENOTFOUND nowhere.example"), "unknown host");
  assert.equal(connectionReason(library("something new")), "something new");
});
