import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { bytes, EtcdClient, EVERYTHING, openProxy, prefixEnd } from "./support.js";

/*
 * Shards that compact themselves, each at a revision of its own. A client that is refused is told once from where on it
 * is served, by all shards that it needs.
 */

let shards: EtcdProcess[];
let proxies: Braid[];
let clients: EtcdClient[];
let direct: EtcdClient[];

before(async () => {
  shards = await startEtcds(3);
  proxies = [await openProxy(shards), await openProxy(shards)];
  clients = proxies.map(({ addresses }) => new EtcdClient(addresses[0]));
  direct = shards.map(({ endpoint }) => new EtcdClient(endpoint));
});

after(async () => {
  for (const client of [...clients, ...direct]) client.close();
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await Promise.all(shards.map((shard) => shard.remove()));
});

/** Revisions of ten writes to each shard in turn, the newest. */
let written: number[];

beforeEach(async () => {
  written = [];
  for (let n = 0; n < 30; n++) written.push(await clients[0].set(`${"abc"[n % 3]}/${n}`, `${n}`));
});

/** Compacts a shard past the proxies at its newest write at or before the `n`th. */
async function compactItself(shard: number, n: number): Promise<void> {
  const at = Math.floor((n - shard) / 3) * 3 + shard;
  const { kvs } = await direct[shard].range({ key: bytes(`${"abc"[shard]}/${at}`) });
  await direct[shard].compact({ revision: kvs[0]!.modRevision, physical: true });
}

/** What the client is told that watches from `startRevision`; 0 when it is served up to the newest revision. */
async function told(client: EtcdClient, range: object, startRevision: number, last: number): Promise<number> {
  const stream = client.watch();
  await stream.create({ ...range, startRevision });
  await stream.until("an answer", () =>
    stream.frames.some(
      ({ canceled, events }) => canceled || events.some(({ kv }) => kv!.modRevision === last),
    ),
  );
  const refusal = stream.frames.find(({ canceled }) => canceled);
  stream.close();
  return refusal?.compactRevision ?? 0;
}

/** One refusal through either proxy, with the same revision, and none from there on. */
async function refusedOnce(range: object, from: number, last: number): Promise<number> {
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await told(clients[i % 2], range, from, last));
  const [first] = answers;
  assert.deepEqual(answers, [first, first, first, first]);
  for (const client of clients) assert.equal(await told(client, range, first!, last), 0);
  return first!;
}

test("each shard compacted at another revision: the one that is furthest decides, whichever refuses first", async () => {
  const last = written.at(-1)!;
  await compactItself(0, 9);
  await compactItself(1, 22);
  await compactItself(2, 14);
  const all = await refusedOnce(EVERYTHING, written[0], last);
  // The 22nd write is that of shard 1 itself, whose events are there from its compaction on.
  assert.equal(all, written[22]);
  const onlyOnA = await refusedOnce({ key: bytes("a/"), rangeEnd: prefixEnd("a/") }, written[0], written[27]);
  assert.equal(onlyOnA, written[9], "shards that it does not need do not count");
});

test("a revision compacted through the proxies: what a shard has compacted since counts as well", async () => {
  await clients[0].compact({ revision: written[6], physical: true });
  await compactItself(1, 16);
  assert.equal(await refusedOnce(EVERYTHING, written[1], written.at(-1)!), written[16]);
});

test("shards that have compacted no further: the revision of the compaction itself", async () => {
  await clients[0].compact({ revision: written[20], physical: true });
  assert.equal(await refusedOnce(EVERYTHING, written[3], written.at(-1)!), written[20]);
});

test("a client that cancels while it is being refused hears that it has, once", async () => {
  await compactItself(1, 22);
  const stream = clients[0].watch();
  for (let i = 0; i < 20; i++) {
    const { watchId } = await stream.create({ ...EVERYTHING, startRevision: 1 });
    stream.send({ kind: "cancel", watchId });
    const ended = () => stream.frames.filter((frame) => frame.watchId === watchId && frame.canceled).length;
    await stream.until("end", () => ended() > 0);
    await stream.progress();
  }
  const ended = stream.frames.filter(({ canceled }) => canceled).length;
  const created = stream.frames.filter((frame) => frame.created).length;
  assert.ok(ended >= created && ended <= 2 * created);
  stream.close();
});
