import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MoverError, type MoverShard, type Problem } from "../../src/mover/shard.js";
import { genDigits } from "../../src/reshard/gen.js";
import type { ShardClient } from "../../src/shard/client.js";
import {
  CompactionRequest,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { until } from "../support/until.js";
import { bytes, GEN_KEY, list, moverShard, openShard, put, text, writeGen } from "./support.js";

// One real etcd as the mover sees it. Every test uses keys of its own.

let etcd: EtcdProcess;
let client: ShardClient;
let shard: MoverShard;

before(async () => {
  etcd = await startEtcd({ flags: ["--max-request-bytes", "65536"] });
  client = openShard(etcd);
  shard = moverShard(client);
  await writeGen(client);
});

after(async () => {
  client.close();
  await etcd.remove();
});

const problem = (expected: Problem) => (error: unknown) =>
  error instanceof MoverError && error.problem === expected && error.message.includes('shard "s0"');

test("pages at a revision do not show later writes", async () => {
  for (let i = 0; i < 25; i++) await put(client, `/page/${String(i).padStart(2, "0")}`, "before");
  const revision = await shard.revision();
  const found: string[] = [];
  let from = bytes("/page/");
  for (let pages = 0; ; pages++) {
    const page = await shard.range({ from, to: bytes("/page0"), limit: 10, revision });
    for (const { key, value } of page.kvs) found.push(`${text(key)} ${text(value)}`);
    if (!page.more) {
      assert.equal(pages, 2);
      break;
    }
    from = Buffer.concat([page.kvs.at(-1)!.key, Buffer.of(0)]);
    // These would be on the next page, and before it.
    await put(client, "/page/15", "after");
    await put(client, `/page/99${pages}`, "after");
  }
  assert.deepEqual(
    found,
    Array.from({ length: 25 }, (_, i) => `/page/${String(i).padStart(2, "0")} before`),
  );
});

test("a page says at which revision it was read, up to the end of the keyspace", async () => {
  const revision = await put(client, "\xff\xffz", "last");
  const page = await shard.range({ from: bytes("\xff"), to: null, limit: 10, keysOnly: true });
  assert.equal(page.revision, revision);
  assert.deepEqual(
    page.kvs.map(({ key, value }) => [text(key), value.length]),
    [["\xff\xffz", 0]],
  );
  assert.deepEqual((await shard.range({ from: null, to: null, limit: 10 })).kvs, []);
});

test("changes are complete and in order, with values, leases and deletions", async () => {
  await shard.grant(71n, 100);
  const from = (await shard.revision()) + 1;
  const changes = shard.changes(from);
  await put(client, "/change/a", "1", 71n);
  await shard.txn({
    gen: undefined,
    ops: [
      { kind: "put", key: bytes("/change/b"), value: bytes("2"), lease: 0n },
      { kind: "delete", key: bytes("/change/a") },
    ],
  });
  await writeGen(client);
  const until = await put(client, "/change/c", "3");
  await put(client, "/change/d", "beyond");
  const seen: string[] = [];
  for (let next = await changes.next(until); next.length > 0; next = await changes.next(until)) {
    for (const { revision, kvs } of next)
      for (const { key, value, version, lease } of kvs)
        seen.push(`${revision - from} ${text(key)}=${text(value)} v${version} ${lease}`);
  }
  assert.deepEqual(seen.sort(), [
    "0 /change/a=1 v1 71",
    "1 /change/a= v0 0",
    "1 /change/b=2 v1 0",
    "3 /change/c=3 v1 0",
  ]);
  // The same reader continues, without waiting for a new watch.
  const [{ kvs }] = await changes.next(until + 1);
  assert.equal(text(kvs[0].key), "/change/d");
  changes.close();
});

test("changes that were compacted are reported", async () => {
  const from = (await shard.revision()) + 1;
  for (let i = 0; i < 5; i++) await put(client, "/compacted", `${i}`);
  const revision = from + 3;
  await client.call(KV.Compact, CompactionRequest.encode({ revision }), { idempotent: true });
  const changes = shard.changes(from);
  await assert.rejects(changes.next(from + 4), problem("compacted"));
  await assert.rejects(
    shard.range({ from: bytes("/"), to: null, limit: 1, revision: from }),
    problem("compacted"),
  );
  changes.close();
});

test("transactions write only while gen is the mover's", async () => {
  const position = 0x1000;
  const raised = await shard.raiseGen(position);
  assert.equal(raised, await shard.revision());
  const write = (gen: number | undefined, value: string) =>
    shard.txn({ gen, ops: [{ kind: "put", key: bytes("/gen"), value: bytes(value), lease: 0n }] });
  const written = await write(position, "1");
  assert.deepEqual(written, { succeeded: true, changed: true, revision: raised! + 1 });
  for (const other of [position - 1, position + 1]) {
    const refused = await write(other, "2");
    assert.deepEqual(refused, { succeeded: false, changed: false, revision: raised! + 1 });
  }
  const remove = (key: string, end?: string) =>
    shard.txn({
      gen: position,
      ops: [{ kind: "delete", key: bytes(key), end: end === undefined ? end : bytes(end) }],
    });
  const nothing = await remove("/gen", "/gen");
  assert.deepEqual(nothing, { succeeded: true, changed: false, revision: raised! + 1 });
  assert.deepEqual(await remove("/ge", "/gen\0"), { succeeded: true, changed: true, revision: raised! + 2 });
  assert.deepEqual(await remove("/gen"), { succeeded: true, changed: false, revision: raised! + 2 });
});

test("gen only rises, also when several movers raise it at once", async () => {
  const position = 0x2000;
  const raised = await shard.raiseGen(position);
  assert.equal(await shard.raiseGen(position), raised, "it is there already");
  assert.equal(await shard.raiseGen(position - 1), undefined);
  await Promise.all(Array.from({ length: 8 }, (_, i) => shard.raiseGen(position + i)));
  const [mark] = (await shard.range({ from: GEN_KEY, to: bytes("\x01"), limit: 1 })).kvs;
  assert.equal(text(mark.value), `${genDigits(position + 7)} {}`, "with the rest of the mark");
});

test("parts of leases are granted, found and ended, as often as one likes", async () => {
  const grant = LeaseGrantRequest.encode({ id: 81n, ttl: 300 });
  await client.call(Lease.LeaseGrant, grant, { idempotent: false });
  assert.equal(await shard.leaseTtl(81n), 300);
  await shard.grant(81n, 300);
  await put(client, "/lease", "", 81n);
  await client.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: 81n }), { idempotent: false });
  assert.equal(await shard.leaseTtl(81n), undefined);
  const ops = [{ kind: "put", key: bytes("/lease"), value: bytes(""), lease: 81n }] as const;
  await assert.rejects(shard.txn({ gen: undefined, ops }), problem("lease not found"));
  await shard.grant(81n, 300);
  assert.equal((await shard.txn({ gen: undefined, ops })).succeeded, true);
  await shard.endPart(81n);
  await shard.endPart(81n);
  assert.ok((await list(client)).every(({ key }) => text(key) !== "/lease"));
});

test("a part that is left from before is renewed: nobody has done so since", async () => {
  const ttl = 5;
  await client.call(Lease.LeaseGrant, LeaseGrantRequest.encode({ id: 82n, ttl }), { idempotent: false });
  const left = async () => {
    const request = LeaseTimeToLiveRequest.encode({ id: 82n });
    const answer = await client.call(Lease.LeaseTimeToLive, request, { idempotent: true });
    return LeaseTimeToLiveResponse.decode(answer).ttl;
  };
  await until(async () => (await left()) < ttl - 1);
  await shard.grant(82n, ttl);
  assert.ok((await left()) >= ttl - 1, "it has its whole time again");
  await shard.endPart(82n);
});

test("what is too large is reported: bytes for etcd, bytes for gRPC, and operations", async () => {
  const putOf = (size: number) =>
    shard.txn({
      gen: undefined,
      ops: [{ kind: "put", key: bytes("/large"), value: Buffer.alloc(size), lease: 0n }],
    });
  await putOf(60_000);
  await assert.rejects(putOf(70_000), problem("too large"));
  await assert.rejects(putOf(1 << 20), problem("too large"));
  const ops = Array.from({ length: 129 }, (_, i) => ({ kind: "delete", key: bytes(`/large/${i}`) }) as const);
  await assert.rejects(shard.txn({ gen: undefined, ops }), problem("too large"));
});

test("a shard that is down is unreachable for reads; the outcome of a write is unknown", async () => {
  const other = await startEtcd();
  const down = openShard(other);
  const mover = moverShard(down);
  await writeGen(down);
  await other.kill("SIGSTOP");
  const ops = [{ kind: "put", key: bytes("/down"), value: bytes(""), lease: 0n }] as const;
  const write = assert.rejects(mover.txn({ gen: undefined, ops }), problem("unknown outcome"));
  const read = assert.rejects(mover.revision(), problem("unreachable"));
  await other.kill();
  await write;
  down.close();
  await read;
  await other.remove();
});
