import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { bytes, EtcdClient, EVERYTHING, openProxy, prefixEnd } from "./support.js";

/*
 * Shards that compact themselves at different revisions. A refused client gets, at once, the first revision that all its
 * shards serve.
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

/** Revisions of the newest writes, ten to each shard in turn. */
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

/** Returns the `compact_revision` of a watch from `startRevision`; 0 if it is served up to the newest revision. */
async function compactRevision(
  client: EtcdClient,
  range: object,
  startRevision: number,
  last: number,
): Promise<number> {
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

/** Checks that both proxies refuse with the same revision, and serve a watch from there on. */
async function refusedOnce(range: object, from: number, last: number): Promise<number> {
  const answers = [];
  for (let i = 0; i < 4; i++) answers.push(await compactRevision(clients[i % 2], range, from, last));
  const [first] = answers;
  assert.deepEqual(answers, [first, first, first, first]);
  for (const client of clients) assert.equal(await compactRevision(client, range, first!, last), 0);
  return first!;
}

test("shards compacted at different revisions: the newest compaction decides, no matter which shard refuses first", async () => {
  const last = written.at(-1)!;
  await compactItself(0, 9);
  await compactItself(1, 22);
  await compactItself(2, 14);
  const all = await refusedOnce(EVERYTHING, written[0], last);
  // The 22nd write is on shard 1 itself, which has events from its compaction on.
  assert.equal(all, written[22]);
  const onlyOnA = await refusedOnce({ key: bytes("a/"), rangeEnd: prefixEnd("a/") }, written[0], written[27]);
  assert.equal(onlyOnA, written[9], "shards that it does not need do not count");
});

test("a revision compacted through the proxies: later compactions of a shard count as well", async () => {
  await clients[0].compact({ revision: written[6], physical: true });
  await compactItself(1, 16);
  assert.equal(await refusedOnce(EVERYTHING, written[1], written.at(-1)!), written[16]);
});

test("shards that have compacted no further: the revision of the compaction itself", async () => {
  await clients[0].compact({ revision: written[20], physical: true });
  assert.equal(await refusedOnce(EVERYTHING, written[3], written.at(-1)!), written[20]);
});

test("a client that cancels while it is being refused gets one response to its cancellation", async () => {
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
