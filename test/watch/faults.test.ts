import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { type Relay, startRelay } from "../shard/support.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { newSeed, random } from "./random.js";
import { bytes, EtcdClient, EVERYTHING, openProxy, prefixEnd, show, text } from "./support.js";

/* Two proxies over the same shards. One reaches the third shard over a connection that can be cut, the other directly. */

let shards: EtcdProcess[];
let relay: Relay;
let wired: Braid;
let direct: Braid;
let client: EtcdClient;
let other: EtcdClient;

before(async () => {
  shards = await startEtcds(3);
  relay = await startRelay(shards[2].endpoint);
  wired = await openProxy([shards[0], shards[1], { endpoint: relay.endpoint }]);
  direct = await openProxy(shards);
  client = new EtcdClient(wired.addresses[0]);
  other = new EtcdClient(direct.addresses[0]);
});

after(async () => {
  client.close();
  other.close();
  await Promise.all([wired.stop(), direct.stop()]);
  await relay.close();
  await Promise.all(shards.map((shard) => shard.remove()));
});

beforeEach(() => relay.holdAnswers(false));

const a = { key: bytes("a/"), rangeEnd: prefixEnd("a/") };
const c = { key: bytes("c/"), rangeEnd: prefixEnd("c/") };

test("concurrent writers, and shards that are killed and cut off: each proxy sends the same complete history", async () => {
  const seed = newSeed("faults");
  const next = random(seed);
  const start = await other.set("a/start", "");
  const streams = [client, other, client, other].map((from) => from.watch());
  for (const stream of streams.slice(0, 2)) await stream.create({ ...EVERYTHING, startRevision: start + 1 });
  const answered = new Map<number, string>();
  let writing = true;
  const writer = async (name: number) => {
    for (let n = 0; writing; n++) {
      const key = `${"abc"[next(3)]}/${next(5)}`;
      const value = `${name}.${n}`;
      const proxy = name % 2 === 0 ? client : other;
      const revision = await proxy.set(key, value).catch(() => undefined);
      if (revision !== undefined) {
        assert.ok(!answered.has(revision), `revision ${revision} twice, seed ${seed}`);
        answered.set(revision, `${revision} +${key}=${value}`);
      }
    }
  };
  const writers = Array.from({ length: 6 }, (_, name) => writer(name));
  const settled = async (more: number) => {
    const goal = answered.size + more;
    const stream = streams[1];
    // Written through the direct proxy, which may also lose a shard for a while.
    await stream.until(`${more} more writes`, () => answered.size >= goal || stream.error !== undefined);
  };
  await settled(100);
  for (let round = 0; round < 3; round++) {
    await shards[next(3)].kill("SIGKILL").then(() => undefined);
    for (const shard of shards) if (!shard.isRunning) await shard.restart();
    await settled(50);
    // Written while the connection is cut. The upstream watch must resume where it was.
    relay.holdAnswers(true);
    relay.cut();
    for (let n = 0; n < 5; n++) {
      const revision = await other.set("c/unseen", `${round}.${n}`);
      answered.set(revision, `${revision} +c/unseen=${round}.${n}`);
    }
    relay.holdAnswers(false);
    relay.cut();
    await settled(50);
  }
  // Two more watches start in the past while this goes on.
  for (const stream of streams.slice(2)) await stream.create({ ...EVERYTHING, startRevision: start + 1 });
  await settled(50);
  writing = false;
  await Promise.all(writers);
  const last = await other.set("b/end", "");
  for (const stream of streams) await stream.reaches(0, last);
  const [shown, ...others] = streams.map((stream) => {
    stream.check();
    return stream.shown(0);
  });
  assert.deepEqual(
    shown.map((event) => Number.parseInt(event, 10)),
    Array.from({ length: last - start }, (_, i) => start + 1 + i),
    `seed ${seed}`,
  );
  for (const same of others) assert.deepEqual(same, shown, `seed ${seed}`);
  for (const [revision, event] of answered) assert.equal(shown[revision - start - 1], event, `seed ${seed}`);
  for (const stream of streams) stream.close();
});

test("a shard that is cut off delays only the watches that need it, and nothing is lost or out of order", async () => {
  const stream = client.watch();
  const onA = await stream.create(a);
  const all = await stream.create(EVERYTHING);
  const first = await other.set("c/first", "1");
  await stream.reaches(all.watchId, first);
  relay.holdAnswers(true);
  await other.set("a/1", "1");
  await other.set("c/cut", "2");
  await other.set("b/1", "3");
  const ahead = await other.set("a/2", "4");
  await stream.reaches(onA.watchId, ahead);
  assert.deepEqual(stream.shown(all.watchId), [`${first} +c/first=1`, `${first + 1} +a/1=1`]);
  // A watch that starts now gets the earlier events first.
  const late = await stream.create({ ...a, startRevision: first + 1 });
  const onlyA = await client.watch();
  const lateOnA = await onlyA.create(a);
  const later = await other.set("a/3", "5");
  await onlyA.reaches(lateOnA.watchId, later);
  assert.equal(await onlyA.progress(), later);
  relay.cut();
  relay.holdAnswers(false);
  const last = await other.set("c/back", "6");
  await stream.reaches(all.watchId, last);
  await stream.reaches(late.watchId, later);
  const everything = ["c/first=1", "a/1=1", "c/cut=2", "b/1=3", "a/2=4", "a/3=5", "c/back=6"];
  assert.deepEqual(
    stream.shown(all.watchId),
    everything.map((event, i) => `${first + i} +${event}`),
  );
  const ofA = stream.shown(all.watchId).filter((event) => event.includes("+a"));
  assert.deepEqual(stream.shown(onA.watchId), ofA);
  assert.deepEqual(stream.shown(late.watchId), ofA);
  assert.deepEqual(onlyA.shown(lateOnA.watchId), ofA.slice(-1));
  stream.check();
  onlyA.check();
  stream.close();
  onlyA.close();
});

test("a shard is away while others bring more events than a proxy keeps: only the watches that need it wait", async () => {
  const stream = client.watch();
  const onA = await stream.create(a);
  const all = await stream.create(EVERYTHING);
  const first = await other.set("c/before", "");
  await stream.reaches(all.watchId, first);
  relay.holdAnswers(true);
  await other.set("c/away", "");
  const large = "x".repeat(1 << 20);
  const keys: string[] = ["c/before", "c/away"];
  // Three times as much as is kept.
  for (let n = 0; n < 48; n++) {
    const key = n % 4 === 0 ? `b/${n}` : `a/${n}`;
    await other.set(key, large);
    keys.push(key);
  }
  await other.set("c/away again", "");
  const last = await other.set("a/last", "");
  keys.push("c/away again", "a/last");
  await stream.reaches(onA.watchId, last);
  relay.cut();
  relay.holdAnswers(false);
  await stream.reaches(all.watchId, last);
  const end = await other.set("a/end", "");
  await stream.reaches(onA.watchId, end);
  await stream.reaches(all.watchId, end);
  keys.push("a/end");
  const shown = (id: number) => stream.eventsOf(id).map(({ kv }) => `${kv!.modRevision} ${text(kv!.key)}`);
  const expected = keys.map((key, i) => `${first + i} ${key}`);
  assert.deepEqual(shown(all.watchId), expected);
  assert.deepEqual(
    shown(onA.watchId),
    expected.filter((event) => event.includes(" a/")),
  );
  stream.check();
  stream.close();
});

test("a shard compacts events before they were seen: watches that need the shard end, the others continue", async () => {
  const stream = client.watch();
  const onA = await stream.create(a);
  const onC = await stream.create(c);
  const first = await other.set("c/seen", "1");
  await stream.reaches(onC.watchId, first);
  relay.holdAnswers(true);
  const shard = new EtcdClient(shards[2].endpoint);
  let header = (await shard.range({ key: bytes("c") })).header;
  for (let n = 0; n < 5; n++) ({ header } = await shard.put({ key: bytes("c/lost"), value: bytes(`${n}`) }));
  await shard.compact({ revision: header!.revision, physical: true });
  // Seals the writes past the proxies.
  const sealed = (await other.range({ key: bytes("c/lost") })).kvs[0].modRevision;
  relay.cut();
  relay.holdAnswers(false);
  const cancelled = () => stream.frames.find(({ canceled }) => canceled);
  await stream.until("the cancellation", () => cancelled() !== undefined);
  assert.equal(cancelled()!.watchId, onC.watchId);
  assert.equal(cancelled()!.compactRevision, sealed);
  const last = await other.set("a/on", "1");
  await stream.reaches(onA.watchId, last);
  // As clients do, from the compacted revision.
  const again = await stream.create({ ...c, startRevision: sealed });
  const more = await other.set("c/more", "2");
  await stream.reaches(again.watchId, more);
  assert.deepEqual(stream.shown(again.watchId), [`${sealed} +c/lost=4`, `${more} +c/more=2`]);
  stream.check();
  shard.close();
  stream.close();
});

test("a watch from below the compacted revision is cancelled after its creation, others are served", async () => {
  const live = client.watch();
  const seen = await live.create(EVERYTHING);
  let last = 0;
  for (let n = 0; n < 12; n++) last = await client.set(`${"abc"[n % 3]}/compacted`, `${n}`);
  await live.reaches(seen.watchId, last);
  const compacted = last - 4;
  await client.compact({ revision: compacted });
  const fresh = await openProxy(shards);
  const freshClient = new EtcdClient(fresh.addresses[0]);
  for (const from of [client, freshClient]) {
    const stream = from.watch();
    for (const startRevision of [1, compacted - 1]) {
      const { watchId, canceled } = await stream.create({ ...EVERYTHING, startRevision });
      assert.equal(canceled, false);
      const end = () => stream.frames.find((frame) => frame.watchId === watchId && frame.canceled);
      await stream.until("the cancellation", () => end() !== undefined);
      assert.deepEqual([end()!.created, end()!.compactRevision, end()!.cancelReason], [false, compacted, ""]);
    }
    const { watchId } = await stream.create({ ...EVERYTHING, startRevision: compacted, prevKv: true });
    await stream.reaches(watchId, last);
    assert.deepEqual(
      stream.eventsOf(watchId).map(({ kv }) => kv!.modRevision),
      [0, 1, 2, 3, 4].map((i) => compacted + i),
    );
    // Revisions before the compacted one are gone, although the first proxy still has them in its history.
    assert.deepEqual(
      stream.eventsOf(watchId).map(({ prevKv }) => prevKv !== undefined),
      [false, true, true, true, true],
    );
    stream.close();
  }
  live.close();
  freshClient.close();
  await fresh.stop();
});

test("a watch from a compacted deletion, which etcd has dropped, continues with later events", async () => {
  await client.set("b/gone", "1");
  const deleted = await client.delete("b/gone");
  await client.compact({ revision: deleted, physical: true });
  // A proxy without history.
  const fresh = await openProxy(shards);
  const freshClient = new EtcdClient(fresh.addresses[0]);
  const stream = freshClient.watch();
  const { watchId } = await stream.create({ ...EVERYTHING, startRevision: deleted });
  assert.ok((await stream.progress()) >= deleted);
  const last = await client.set("c/after", "1");
  await stream.reaches(watchId, last);
  assert.equal(stream.shown(watchId).at(-1), `${last} +c/after=1`);
  stream.close();
  freshClient.close();
  await fresh.stop();
});

test("a shard that compacted itself: a watch can start at compact_revision", async () => {
  const first = await other.set("b/auto", "0");
  let last = first;
  for (let n = 1; n < 6; n++) {
    await other.set("a/between", `${n}`);
    last = await other.set("b/auto", `${n}`);
  }
  const shard = new EtcdClient(shards[1].endpoint);
  const { header } = await shard.range({ key: bytes("b") });
  await shard.compact({ revision: header!.revision - 1, physical: true });
  const fresh = await openProxy(shards);
  const freshClient = new EtcdClient(fresh.addresses[0]);
  const stream = freshClient.watch();
  const ofB = { key: bytes("b/auto") };
  const ofA = await stream.create({ key: bytes("a/between"), startRevision: first });
  const { watchId } = await stream.create({ ...ofB, startRevision: first + 1 });
  const end = () => stream.frames.find((frame) => frame.watchId === watchId && frame.canceled);
  await stream.until("the cancellation", () => end() !== undefined);
  const { compactRevision } = end()!;
  assert.equal(compactRevision, last - 2);
  const again = await stream.create({ ...ofB, startRevision: compactRevision });
  await stream.reaches(again.watchId, last);
  assert.deepEqual(stream.shown(again.watchId), [`${last - 2} +b/auto=4`, `${last} +b/auto=5`]);
  await stream.reaches(ofA.watchId, last - 1);
  assert.deepEqual(
    stream.eventsOf(ofA.watchId).map(({ kv }) => text(kv!.value)),
    ["1", "2", "3", "4", "5"],
  );
  assert.deepEqual(stream.eventsOf(watchId).map(show), []);
  shard.close();
  stream.close();
  freshClient.close();
  await fresh.stop();
});
