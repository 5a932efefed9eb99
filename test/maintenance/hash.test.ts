import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  HashKVRequest,
  HashKVResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { KV, Lease, Maintenance } from "../../src/wire/paths.js";
import { AuthClient } from "../auth/client.js";
import { OWN, ROOT, startGuardedEtcds } from "../auth/support.js";
import { etcdctl } from "../support/etcdctl.js";
import { startStore, type TestStore } from "../support/store.js";
import { until } from "../support/until.js";

/*
 * HashKV depends only on what clients have written: neither on the timeline's log, which is on the first shard here, nor on
 * the compactions of the shards.
 */

const rules = [
  { prefix: "/a/", segments: 0, shard: "shard0" },
  { prefix: "/b/", segments: 0, shard: "shard1" },
];
let store: TestStore;
let clients: AuthClient[];
let direct: AuthClient[];

before(async () => {
  store = await startStore({ shards: 2, proxies: 2, config: { routing: { rules } } });
  clients = store.proxies.map(({ endpoint }) => new AuthClient(endpoint));
  direct = store.shards.map(({ endpoint }) => new AuthClient(endpoint));
});
after(async () => {
  for (const client of [...clients, ...direct]) client.close();
  await store.remove();
});

async function put(key: string, value: string, lease = 0n): Promise<number> {
  const request = PutRequest.encode({ key: Buffer.from(key), value: Buffer.from(value), lease });
  return RangeResponse.decode(await clients[0]!.call(KV.Put, request)).header!.revision;
}

/** The hash through both proxies, which must be the same. */
async function hash(revision = 0): Promise<HashKVResponse> {
  const answers = [];
  for (const client of clients) {
    const answer = await client.call(Maintenance.HashKV, HashKVRequest.encode({ revision }));
    answers.push(HashKVResponse.decode(answer));
  }
  const [first, second] = answers;
  assert.deepEqual({ ...second, header: undefined }, { ...first, header: undefined });
  assert.equal(first!.header!.revision, second!.header!.revision);
  return first!;
}

async function compact(...endpoints: string[]): Promise<void> {
  for (const endpoint of endpoints) {
    const newest = await etcdctl(endpoint, "get", "x", "-w", "json");
    const { revision } = JSON.parse(newest.stdout).header;
    assert.equal((await etcdctl(endpoint, "compaction", "--physical", `${revision}`)).code, 0);
  }
}

test("log entries and compactions do not change the hash of a revision", async () => {
  await put("/a/1", "1");
  const revision = await put("/b/1", "1");
  const before = await hash(revision);
  assert.equal(before.compactRevision, -1);
  // Each of these adds to the log on the first shard, where no client writes.
  for (let i = 0; i < 20; i++) await put("/b/2", `${i}`);
  assert.deepEqual((await hash(revision)).hash, before.hash);

  await compact(store.endpoint);
  const compacted = await put("/b/3", "");
  const at = await hash(compacted);
  assert.equal(at.compactRevision, compacted - 1);
  for (let i = 0; i < 20; i++) await put("/b/2", `${i}`);
  assert.deepEqual(await hash(compacted).then(withoutHeader), withoutHeader(at));
  // Compacts one shard directly, and the log on the other.
  await compact(store.shards[1]!.endpoint);
  const newest = await put("/b/4", "");
  const last = await hash(newest);
  await compact(store.shards[0]!.endpoint);
  assert.equal((await hash(newest)).hash, last.hash);
  await assert.rejects(hash(compacted), {
    message: "etcdserver: mvcc: required revision has been compacted",
  });
});

const withoutHeader = ({ hash, compactRevision }: HashKVResponse) => ({ hash, compactRevision });

test("the hash depends on every field of every key", async () => {
  const hashes = new Set<number>();
  const seen = async () => {
    const { hash: value, header } = await hash();
    hashes.add(value);
    const all = { key: Buffer.of(0), rangeEnd: Buffer.of(0) };
    assert.equal(
      RangeResponse.decode(await clients[0]!.call(KV.Range, RangeRequest.encode(all))).header!.revision,
      header!.revision,
    );
  };
  await seen();
  await put("/a/f", "1");
  await seen();
  await put("/a/f", "2");
  await seen();
  await put("/a/f", "1");
  await seen();
  const grant = await clients[0]!.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl: 600 }));
  await put("/a/f", "1", LeaseGrantResponse.decode(grant).id);
  await seen();
  assert.equal(hashes.size, 5);
});

test("the hash covers more keys than a page holds, large and small ones", async () => {
  for (let i = 0; i < 150; i++)
    await put(`/${"ab"[i % 2]}/many/${i}`, i === 70 ? "v".repeat(1_200_000) : "v");
  const before = await hash();
  // The last key of all.
  const last = await put("/b/z", "");
  assert.notEqual((await hash()).hash, before.hash);
  assert.equal((await hash(last - 1)).hash, before.hash);
});

test("the expiry of a lease changes the hash at once", async () => {
  const grant = LeaseGrantRequest.encode({ ttl: 1 });
  const lease = LeaseGrantResponse.decode(await clients[0]!.call(Lease.LeaseGrant, grant)).id;
  await put("/b/leased", "", lease);
  const before = await hash();
  const request = RangeRequest.encode({ key: Buffer.from("/b/leased"), countOnly: true });
  await until("the lease has expired", async () => {
    const answer = await direct[1]!.call(KV.Range, request);
    return RangeResponse.decode(answer).count === 0;
  });
  // As an auto-compaction of the shard does.
  await compact(store.shards[1]!.endpoint);
  const after = await hash();
  assert.notEqual(after.hash, before.hash);
  assert.equal(after.header!.revision, before.header!.revision + 1);
});

test("with authentication on, the shards check the client before anything is read", async () => {
  const backends = await startGuardedEtcds(2);
  const guarded = await startStore({ backends, config: { auth: OWN, routing: { rules } } });
  const client = new AuthClient(guarded.endpoint);
  const own = new AuthClient(backends[0]!.endpoint);
  const root = ROOT.split(":") as [string, string];
  try {
    const token = await client.login(...root);
    for (const args of [
      ["user", "add", "nobody:secret"],
      ["role", "add", "reader"],
      ["user", "grant-role", "nobody", "reader"],
    ]) {
      assert.equal((await etcdctl(guarded.endpoint, "--user", ROOT, ...args)).code, 0);
    }
    const nobody = await client.login("nobody", "secret");
    const direct = await own.login("nobody", "secret");
    const request = HashKVRequest.encode({});
    const byEtcd = await own.outcome(Maintenance.HashKV, request, direct);
    assert.deepEqual(await client.outcome(Maintenance.HashKV, request, nobody), byEtcd);
    assert.equal((await client.outcome(Maintenance.HashKV, request, token)).code, 0);
    const withoutToken = await own.outcome(Maintenance.HashKV, request);
    assert.deepEqual(await client.outcome(Maintenance.HashKV, request), withoutToken);
  } finally {
    for (const each of [client, own]) each.close();
    await guarded.remove();
    await Promise.all(backends.map((etcd) => etcd.remove()));
  }
});
