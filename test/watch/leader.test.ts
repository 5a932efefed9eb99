import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Proxy as Braid } from "../../src/app/proxy.js";
import { Code } from "../../src/status/error.js";
import { type EtcdCluster, type EtcdProcess, startCluster, startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";
import { bytes, EtcdClient, EVERYTHING, openProxy } from "./support.js";

/* A shard of three members, which is also the timeline host, and a shard of one. */

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
      // Writes fail during an election. Those that were applied show up in the watch.
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

test("without a leader, watches that require one end, and the others wait", async () => {
  const leader = { hasleader: "true" };
  const key = bytes("a/led");
  const read = { key, serializable: true };
  const startRevision = await client.set("a/led", "before");
  const [wants, elsewhere, waits] = [client.watch(leader), client.watch(leader), client.watch()];
  await wants.create({ key });
  await elsewhere.create({ key: bytes("b/led") });
  await waits.create({ key });
  assert.equal((await client.range(read, leader)).count, 1);
  for (const member of cluster.members.slice(1)) await member.kill();

  const noLeader = { code: Code.UNAVAILABLE, details: "etcdserver: no leader" };
  await assert.rejects(
    wants.until("end", () => false),
    noLeader,
  );
  const again = client.watch(leader);
  await assert.rejects(
    again.create({ key, startRevision }).then(() => again.until("end", () => false)),
    noLeader,
  );
  await assert.rejects(client.range(read, leader), noLeader);
  assert.equal((await client.range(read)).count, 1);

  for (const member of cluster.members.slice(1)) await member.start();
  await cluster.leader();
  await until("it can be written again", () => client.set("a/led", "after").then(Boolean, () => false));
  const last = await client.set("b/led", "after");
  await elsewhere.reaches(0, last);
  await waits.until("an event", () => waits.eventsOf(0).some(({ kv }) => kv!.modRevision < last));
  for (const stream of [elsewhere, waits]) {
    stream.check();
    stream.close();
  }
});
