import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Reply } from "../../src/rpc/call.js";
import { sharing } from "../../src/services/kv/sharing.js";
import type { Caller } from "../../src/shard/caller.js";
import { Code, StatusError } from "../../src/status/error.js";
import { PutRequest, PutResponse, RangeRequest, RangeResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { rangesReadAt } from "./counts.js";
import { Random, seed, text } from "./model.js";
import { between, invoke, key, openProxy, outcome, put, TestCall, type TestProxy } from "./pair.js";

/* Equal concurrent reads are one read at the shards, which no client can notice. Keys: "a" first shard, "b" second. */

let etcds: EtcdProcess[];
let proxy: TestProxy;

before(async () => {
  etcds = await startEtcds(3);
  proxy = await openProxy(etcds);
  await proxy.ask("put", put("a1", "first"));
  await proxy.ask("put", put("b1", "first"));
});
after(async () => {
  proxy?.stop();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

class CallerCall extends TestCall {
  constructor(readonly caller: Caller | undefined) {
    super(KV.Range);
  }
}

const read = async (request: object, call = new TestCall(KV.Range)) =>
  RangeResponse.decode(await invoke(proxy.handler(KV.Range), call, RangeRequest.encode(request)));

const rangesAtShards = (body: () => Promise<unknown>) => rangesReadAt(etcds, body);

test("equal concurrent reads are two reads at a shard: the first, and one for all others", async () => {
  const asked = await rangesAtShards(async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => read(key("a1"))));
    for (const { kvs } of all) assert.equal(text(kvs[0].value), "first");
  });
  assert.equal(asked, 2);
  const scans = await rangesAtShards(async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => read(between("a", "c"))));
    for (const { kvs } of all)
      assert.deepEqual(
        kvs.map((kv) => text(kv.key)),
        ["a1", "b1"],
      );
  });
  assert.equal(scans, 4);
});

test("reads with another request or caller are not shared", async () => {
  const asked = await rangesAtShards(() =>
    Promise.all([
      read(key("a1")),
      read(key("a2")),
      read({ ...key("a1"), serializable: true }),
      read({ ...key("a1"), keysOnly: true }),
    ]),
  );
  assert.equal(asked, 4);
  const access = { metadata: {}, renew: async () => false };
  const callers = [undefined, { access: () => access }, { access: () => access }];
  const calls = callers.flatMap((caller) => [new CallerCall(caller), new CallerCall(caller)]);
  const shared = await rangesAtShards(() => Promise.all(calls.map((call) => read(key("a1"), call))));
  assert.equal(shared, 4, "the first, and one for each");
});

test("a read that has left is not joined any more", async () => {
  const asked = await rangesAtShards(async () => {
    const early = [read(key("a1")), read(key("a1")), read(key("a1"))];
    // Requests leave at the end of the turn.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    await Promise.all([...early, read(key("a1"))]);
  });
  assert.equal(asked, 3);
});

test("followers get their response when the client that they follow cancels", async () => {
  const joined = new TestCall(KV.Range);
  const others = [read(key("a1"))];
  const gone = outcome(read(key("a1"), joined));
  others.push(read(key("a1")), read(key("a1")), read(key("a1")));
  joined.cancel();
  assert.ok((await gone) instanceof StatusError);
  for (const { kvs } of await Promise.all(others)) assert.equal(text(kvs[0].value), "first");
});

test("followers share an error", async () => {
  const replies: unknown[] = [];
  const waiting: Reply[] = [];
  const handler = sharing((_call, _request, reply) => waiting.push(reply));
  const call = new TestCall(KV.Range);
  for (let i = 0; i < 4; i++) handler(call, Uint8Array.of(1), (error) => replies.push(error?.message));
  assert.equal(waiting.length, 2);
  for (const reply of waiting) reply(new StatusError(Code.UNAVAILABLE, "down"));
  assert.deepEqual(replies, ["down", "down", "down", "down"]);
});

test("a read shows all that was acknowledged before it began", async () => {
  const random = new Random(seed());
  const name = "a-counter";
  let newest = 0;
  let shared = 0;
  let running = true;
  await proxy.ask("put", put(name, "0"));
  const writer = async () => {
    for (let n = 1; running; n++) {
      const response = await invoke(
        proxy.handler(KV.Put),
        new TestCall(KV.Put),
        PutRequest.encode(put(name, String(n))),
      );
      assert.ok(PutResponse.decode(response).header!.revision > 0);
      newest = n;
    }
  };
  const reader = async () => {
    for (let i = 0; i < 60; i++) {
      const least = newest;
      const { kvs } = await read(random.chance(0.7) ? key(name) : between("a", "c"));
      const kv = kvs.find((each) => text(each.key) === name)!;
      assert.ok(Number(text(kv.value)) >= least, `${text(kv.value)} after ${least}`);
      shared++;
      if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const writing = writer();
  const asked = await rangesAtShards(() => Promise.all(Array.from({ length: 16 }, reader)));
  running = false;
  await writing;
  assert.ok(asked < 2 * shared, `${asked} reads at the shards for ${shared}`);
});
