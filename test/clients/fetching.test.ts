import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client } from "./support.js";

// As in npm run test:clients; read when the module is.
process.env.BRAID_TEST_CLIENTS = "1";
const { builtClient } = await import("./support.js");

/** A client whose fetching and building are these Node.js programs. */
const client = (fetch: string, build: string): Client => ({
  name: "none",
  sources: "go",
  inputs: /^$/,
  toolchain: ["node", "--version"],
  fetch: () => [["node", "-e", fetch]],
  build: () => [["node", "-e", build]],
});

test("a registry that cannot be reached is a reason to skip, in its words", async () => {
  const fetch = "console.error('x: dial tcp 127.0.0.1:9: connect: connection refused'); process.exit(1)";
  assert.deepEqual(await builtClient(client(fetch, "")), {
    missing: "none cannot be fetched here: dial tcp 127.0.0.1:9: connect: connection refused",
  });
});

test("a client that cannot be built is a failure", async () => {
  await assert.rejects(builtClient(client("", "process.exit(1)")), /Command failed/);
});
