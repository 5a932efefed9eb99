import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Caller } from "../../src/shard/caller.js";
import { decodeEntry } from "../../src/timeline/entry.js";
import { LOG_PREFIX, LOG_PREFIX_END } from "../../src/timeline/keys.js";
import { PutRequest, PutResponse } from "../../src/wire/messages.js";
import { KV } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { bytes, text } from "./model.js";
import { type Ask, invoke, openPlain, openProxy, TestCall, type TestProxy } from "./pair.js";

/*
 * A put on the timeline host that is alone carries its entry: the host commits once. Keys: "a" is on the host, "b" on the second
 * shard.
 */

let etcds: EtcdProcess[];
let host: { ask: Ask; close(): void };
let first: TestProxy;
let second: TestProxy;

before(async () => {
  etcds = await startEtcds(3);
  host = openPlain(etcds[0]);
  first = await openProxy(etcds);
  second = await openProxy(etcds);
});

after(async () => {
  first?.stop();
  second?.stop();
  host?.close();
  await Promise.all(etcds.map((etcd) => etcd.remove()));
});

/** Each test begins when nothing waits for an append. */
beforeEach(() => first.store.timeline.sync());

const put = (key: string, value: string) => ({ key: bytes(key), value: bytes(value) });
const hostRevision = async () => (await host.ask("range", { key: bytes("a") })).header!.revision;

/** The entries of the log that say that a put carried them, by host revision. */
async function carried(): Promise<number[]> {
  const { kvs } = await host.ask("range", { key: LOG_PREFIX, rangeEnd: LOG_PREFIX_END });
  return kvs
    .filter(({ key }) => text(key).includes("/log/"))
    .filter(({ value }) => decodeEntry(value).own)
    .map(({ createRevision }) => createRevision)
    .sort((a, b) => a - b);
}

async function stateOf(proxy: TestProxy, key: string): Promise<[value: string, mod: number, head: number]> {
  const { kvs, header } = await proxy.ask("range", { key: bytes(key) });
  return [text(kvs[0].value), kvs[0].modRevision, header!.revision];
}

test("a lone put on the host is one revision of the host, which has the put and its entry", async () => {
  const before = await hostRevision();
  const { header } = await first.ask("put", put("a1", "one"));
  assert.equal(await hostRevision(), before + 1);
  assert.equal((await carried()).at(-1), before + 1);
  assert.deepEqual(await stateOf(first, "a1"), ["one", header!.revision, header!.revision]);
  assert.deepEqual(await stateOf(second, "a1"), ["one", header!.revision, header!.revision]);
});

test("revisions are dense, whichever way a put is sealed", async () => {
  const revisions: number[] = [];
  for (const key of ["a1", "b1", "a2", "a2", "b2", "b2", "a3"]) {
    for (const proxy of [first, second])
      revisions.push((await proxy.ask("put", put(key, "x"))).header!.revision);
  }
  assert.deepEqual(
    revisions,
    revisions.map((_, i) => revisions[0] + i),
  );
});

test("the response has the previous value with its revision", async () => {
  const { header } = await first.ask("put", put("a4", "old"));
  const before = await hostRevision();
  const { prevKv } = await first.ask("put", { ...put("a4", "new"), prevKv: true });
  assert.equal(await hostRevision(), before + 1);
  assert.deepEqual([text(prevKv!.value), prevKv!.modRevision], ["old", header!.revision]);
});

test("puts that arrive together share an entry", async () => {
  const known = (await carried()).length;
  const before = await hostRevision();
  const puts = ["a1", "a2", "a3", "a4"].map((key) => first.ask("put", put(key, "together")));
  const revisions = (await Promise.all(puts)).map(({ header }) => header!.revision);
  assert.equal(new Set(revisions).size, 4);
  assert.equal((await carried()).length, known);
  assert.ok((await hostRevision()) <= before + 6, "four puts, and one or two entries");
});

test("puts on other shards, with a lease, in transactions, or with a large value carry no entry", async () => {
  const known = (await carried()).length;
  const { id } = await first.ask("grant", { ttl: 60 });
  await first.ask("put", put("b1", "elsewhere"));
  await first.ask("put", { ...put("a1", "leased"), lease: id });
  await first.ask("txn", { success: [{ kind: "put", request: put("a1", "txn") }] });
  await first.ask("put", put("a1", "x".repeat(100_000)));
  assert.equal((await carried()).length, known);
});

test("a put in the name of a user carries no entry, which the user may not write", async () => {
  const known = (await carried()).length;
  const caller: Caller = { user: "ann", access: () => ({ metadata: {}, renew: async () => false }) };
  const call = Object.assign(new TestCall(KV.Put), { caller });
  await invoke(first.handler(KV.Put), call, PutRequest.encode(put("a1", "ann's")));
  assert.equal((await carried()).length, known);
});

test("a put whose entry comes too late for the base is carried out once", async () => {
  const { log } = second.store.timeline;
  // The first proxy does not learn of the new base until its put has been refused.
  const held: unknown[] = [];
  const { follower: hold } = first.store.timeline.log as unknown as {
    follower: { foldSafely(changes: unknown): void };
  };
  const { foldSafely } = hold;
  hold.foldSafely = (changes) => void held.push(changes);
  await log.sync();
  await log.writeBase();
  const known = (await carried()).length;
  const { appendsRefused } = first.store.timeline.stats;
  const { kvs } = await host.ask("range", { key: bytes("a5") });
  assert.equal(kvs.length, 0);
  const answer = first.ask("put", put("a5", "late"));
  // The append that seals the put is refused, too, and waits for the base.
  while (first.store.timeline.stats.appendsRefused === appendsRefused) await new Promise(setImmediate);
  hold.foldSafely = foldSafely;
  for (const changes of held) hold.foldSafely(changes);
  const { header } = await answer;
  const stored = await host.ask("range", { key: bytes("a5") });
  assert.equal(stored.kvs[0].version, 1);
  assert.equal((await carried()).length, known);
  assert.deepEqual(await stateOf(second, "a5"), ["late", header!.revision, header!.revision]);
});

test("a proxy that starts folds what puts have carried", async () => {
  const { header } = await first.ask("put", put("a6", "before"));
  const third = await openProxy(etcds);
  try {
    assert.equal(third.store.timeline.head, header!.revision);
    assert.deepEqual(await stateOf(third, "a6"), ["before", header!.revision, header!.revision]);
  } finally {
    third.stop();
  }
});

test("a put that the shard refuses writes neither the key nor an entry", async () => {
  const before = await hostRevision();
  await assert.rejects(first.ask("put", { key: bytes("a-none"), ignoreValue: true }), /key not found/);
  assert.equal(await hostRevision(), before);
  await first.ask("put", put("a1", "after"));
  assert.equal(await hostRevision(), before + 1, "the next put carries its entry again");
});

test("a cancelled put does not keep later ones from carrying their entries", async () => {
  const call = new TestCall(KV.Put);
  const reply = invoke(first.handler(KV.Put), call, PutRequest.encode(put("a1", "cancelled")));
  setImmediate(() => call.cancel());
  await reply.then(
    () => {},
    (error) => assert.match(String(error), /context canceled/),
  );
  const seen = (await carried()).length;
  const bytesOf = PutRequest.encode(put("a1", "next"));
  PutResponse.decode(await invoke(first.handler(KV.Put), new TestCall(KV.Put), bytesOf));
  assert.ok((await carried()).length > seen);
});
