import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Proxy as Braid } from "../../src/server/proxy.js";
import { type EtcdCluster, type EtcdProcess, startCluster, startEtcd } from "../support/etcd.js";
import { EtcdClient, EVERYTHING, openProxy } from "./support.js";

/*
 * A shard of three members, which is the timeline host as well, and one of a single etcd.
 */

let cluster: EtcdCluster;
let single: EtcdProcess;
let proxy: Braid;
let client: EtcdClient;

before(async () => {
  [cluster, single] = await Promise.all([startCluster(3), startEtcd()]);
  const shards = [
    { name: "shard0", endpoints: cluster.endpoints },
    { name: "shard1", endpoints: [single.endpoint] },
  ];
  proxy = await openProxy([cluster.members[0], single], { shards });
  client = new EtcdClient(proxy.addresses[0]);
});

after(async () => {
  client.close();
  await proxy.stop();
  await Promise.all([cluster.remove(), single.remove()]);
});

test("leaders are killed while clients write: the watch loses and repeats nothing, and terms never fall", async () => {
  const start = await client.set("a/start", "");
  const stream = client.watch();
  await stream.create({ ...EVERYTHING, startRevision: start + 1 });
  const answered = new Map<number, string>();
  let writing = true;
  const writer = async (name: number) => {
    for (let n = 0; writing; n++) {
      const key = `${"ab"[n % 2]}/${name}`;
      // During an election writes fail; those that were applied all the same show up in the watch.
      const revision = await client.set(key, `${n}`).catch(() => undefined);
      if (revision !== undefined) answered.set(revision, `${revision} +${key}=${n}`);
    }
  };
  const writers = [0, 1, 2, 3].map(writer);
  const settled = async (more: number) => {
    const goal = answered.size + more;
    await stream.until(`${more} more writes`, () => answered.size >= goal);
  };
  await settled(50);
  for (let round = 0; round < 3; round++) {
    const leader = await cluster.leader();
    await leader.kill();
    await cluster.leader();
    await settled(50);
    await leader.restart();
    await settled(50);
  }
  writing = false;
  await Promise.all(writers);
  const last = await client.set("b/end", "");
  await stream.reaches(0, last);
  stream.check();
  const shown = stream.shown(0);
  assert.deepEqual(
    shown.map((event) => Number.parseInt(event, 10)),
    Array.from({ length: last - start }, (_, i) => start + 1 + i),
  );
  for (const [revision, event] of answered) assert.equal(shown[revision - start - 1], event);
  const terms = stream.frames.map(({ header }) => header!.raftTerm);
  assert.deepEqual(
    terms,
    terms.toSorted((x, y) => x - y),
  );
  assert.ok(terms.at(-1)! > terms[0], "elections were noticed");
  stream.close();
});
