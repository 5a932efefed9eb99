import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { StatusError } from "../../src/status/error.js";
import { StatusResponse } from "../../src/wire/messages.js";
import { Auth, Election, Lease, Lock, Maintenance, Watch } from "../../src/wire/paths.js";
import { startStore, type TestStore } from "../support/store.js";
import { AuthClient } from "./client.js";
import { EVERY_CALL } from "./everyCall.js";

/* No error tells a client the address of a shard. The log does. */

const ADDRESS = /127\.0\.0\.1|localhost|ECONN/;
/** Calls that may wait for long, and streams. */
const WAITING: ReadonlySet<string> = new Set([
  Lock.Lock,
  Election.Campaign,
  Election.Observe,
  Lease.LeaseKeepAlive,
  Maintenance.Snapshot,
  Watch.Watch,
]);

/** Changes of users wait for each other, so one kind is enough. */
const CHANGES: ReadonlySet<string> = new Set(Object.values(Auth).filter((path) => path !== Auth.UserDelete));

let store: TestStore;
let client: AuthClient;

before(async () => {
  store = await startStore({ config: { limits: { connectTimeoutMs: 300, requestTimeoutMs: 1_000 } } });
  client = new AuthClient(store.endpoint);
});
after(async () => {
  client?.close();
  await store?.remove();
});

/** The texts of all errors of unary calls, including those in responses. */
async function errors(): Promise<string[]> {
  const texts = await Promise.all(
    EVERY_CALL.filter(({ path }) => !WAITING.has(path) && !CHANGES.has(path)).map(
      async ({ path, request }) => {
        try {
          const answer = await client.call(path, request(0, 4711n));
          return path === Maintenance.Status ? StatusResponse.decode(answer).errors : [];
        } catch (reason) {
          return [client.outcomeOf(StatusError.from(reason)).message];
        }
      },
    ),
  );
  return texts.flat();
}

/** The text of a stream's first message or of its end. */
function streamed(path: string): Promise<string> {
  const call = EVERY_CALL.find((each) => each.path === path)!;
  return new Promise((resolve) => {
    const stream = client.connection.stream(path, {
      message: () => resolve(""),
      closed: (error) => resolve(client.outcomeOf(error).message),
    });
    stream.send(call.request(0, 4711n));
  });
}

async function pages(): Promise<string[]> {
  return Promise.all(
    ["/metrics", "/health", "/health?serializable=true", "/readyz?verbose", "/livez?verbose", "/version"].map(
      async (path) => (await fetch(`http://${store.endpoint}${path}`)).text(),
    ),
  );
}

function assertNoAddress(texts: readonly string[]): void {
  for (const text of texts) assert.doesNotMatch(text, ADDRESS);
}

test("no page names an address while all is well, and metrics distinguish endpoints", async () => {
  const texts = await pages();
  assertNoAddress(texts);
  assert.match(texts[0]!, /braid_shard_endpoint_state\{shard="shard1",endpoint="1",state="ready"\} 1/);
});

test("a shard hangs: no error names an address", async () => {
  await store.shards[1]!.kill("SIGSTOP");
  const texts = await errors();
  assert.ok(texts.some((text) => text.includes('shard "shard1"')));
  assertNoAddress(texts);
  assertNoAddress(await pages());
  await store.shards[1]!.kill("SIGCONT");
});

test("a shard, then the timeline host, is down: no error names an address, and the log does", async () => {
  for (const shard of [store.shards[1]!, store.shards[0]!]) {
    await shard.kill();
    const texts = await errors();
    assert.ok(texts.some((text) => text.includes("no endpoint reachable")));
    assertNoAddress(texts);
    assertNoAddress(await pages());
    assertNoAddress(await Promise.all([streamed(Lease.LeaseKeepAlive), streamed(Watch.Watch)]));
  }
  const lines = store.proxies[0]!.logs().split("\n");
  const failed = lines.filter((line) => line.includes('"msg":"request failed"')).join("\n");
  assert.match(failed, /no (endpoint reachable|answer in time)[^"]*\(127\.0\.0\.1:\d+/);
});
