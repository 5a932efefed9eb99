import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Client, credentials } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { packageRoot } from "../../src/ops/package.js";
import * as m from "../../src/wire/messages.js";
import { Cluster, KV, Lease, Maintenance, Watch } from "../../src/wire/paths.js";
import { deletedCount, peekHeader, peekRevision, txnWrote } from "../../src/wire/rewrite.js";
import { decodeWatch } from "../../src/wire/watch.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { hex } from "./reference.js";

/** Messages of a real etcd: encoding a decoded response must give the same bytes. */

let etcd: EtcdProcess;
let client: Client;

before(async () => {
  etcd = await startEtcd();
  client = new Client(etcd.endpoint, credentials.createInsecure());
});

after(async () => {
  client.close();
  await etcd.remove();
});

const asIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
const key = Buffer.from("key");

function unary(path: string, request: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest<Uint8Array, Buffer>(path, asIs, asIs, request, (error, response) => {
      if (error) reject(error);
      else resolve(response as Buffer);
    });
  });
}

/** Sends a request, and checks that its response is encoded to the same bytes. Returns it as bytes and decoded. */
async function ask<Q, R>(path: string, request: m.Codec<Q>, message: m.Init<Q>, response: m.Codec<R>) {
  const bytes = await unary(path, request.encode(message));
  const decoded = response.decode(bytes);
  assert.equal(hex(response.encode(decoded as m.Init<R>)), hex(bytes), path);
  return { bytes, decoded };
}

test("keys, transactions and leases round-trip", async () => {
  const lease = (
    await ask(Lease.LeaseGrant, m.LeaseGrantRequest, { ttl: 600, id: 77n }, m.LeaseGrantResponse)
  ).decoded;
  assert.deepEqual([lease.id, lease.ttl, lease.error], [77n, 600, ""]);

  const value = Buffer.from("one");
  await ask(KV.Put, m.PutRequest, { key, value, lease: 77n }, m.PutResponse);
  const put = await ask(
    KV.Put,
    m.PutRequest,
    { key, value: Buffer.alloc(300, 7), prevKv: true },
    m.PutResponse,
  );
  const { revision } = put.decoded.header!;
  assert.equal(put.decoded.prevKv?.lease, 77n);
  assert.equal(Buffer.from(put.decoded.prevKv!.value).toString(), "one");
  assert.equal(peekRevision(put.bytes), revision);
  assert.deepEqual(peekHeader(put.bytes), put.decoded.header);

  const range = await ask(KV.Range, m.RangeRequest, { key, rangeEnd: Buffer.of(0) }, m.RangeResponse);
  assert.equal(range.decoded.count, 1);
  assert.deepEqual(range.decoded.kvs[0].modRevision, revision);

  const txn = await ask(
    KV.Txn,
    m.TxnRequest,
    {
      compare: [{ target: m.CompareTarget.MOD, key, modRevision: revision }],
      success: [
        { kind: "range", request: { key } },
        { kind: "put", request: { key: Buffer.from("other"), prevKv: true } },
        { kind: "txn", request: { success: [{ kind: "deleteRange", request: { key, prevKv: true } }] } },
      ],
    },
    m.TxnResponse,
  );
  assert.equal(txn.decoded.succeeded, true);
  assert.deepEqual(
    txn.decoded.responses.map(({ kind }) => kind),
    ["range", "put", "txn"],
  );
  assert.equal(txnWrote(txn.bytes), true);

  const none = await ask(
    KV.Txn,
    m.TxnRequest,
    { success: [{ kind: "deleteRange", request: { key } }] },
    m.TxnResponse,
  );
  assert.equal(txnWrote(none.bytes), false);

  const gone = { key: Buffer.of(0), rangeEnd: Buffer.of(0), prevKv: true };
  const deleted = await ask(KV.DeleteRange, m.DeleteRangeRequest, gone, m.DeleteRangeResponse);
  assert.equal(deletedCount(deleted.bytes), 1);
  assert.equal(deleted.decoded.prevKvs.length, 1);

  await ask(KV.Put, m.PutRequest, { key, lease: 77n }, m.PutResponse);
  const ttl = { id: 77n, keys: true };
  const left = await ask(Lease.LeaseTimeToLive, m.LeaseTimeToLiveRequest, ttl, m.LeaseTimeToLiveResponse);
  assert.equal(left.decoded.grantedTtl, 600);
  assert.deepEqual(left.decoded.keys.map(hex), [hex(key)]);
  const all = await ask(Lease.LeaseLeases, m.LeaseLeasesRequest, {}, m.LeaseLeasesResponse);
  assert.deepEqual(all.decoded.leases, [77n]);
  await ask(Lease.LeaseRevoke, m.LeaseRevokeRequest, { id: 77n }, m.LeaseRevokeResponse);
  const lost = await ask(Lease.LeaseTimeToLive, m.LeaseTimeToLiveRequest, ttl, m.LeaseTimeToLiveResponse);
  assert.equal(lost.decoded.ttl, -1);
  await ask(KV.Compact, m.CompactionRequest, { revision }, m.CompactionResponse);
});

test("status and members round-trip", async () => {
  const status = (await ask(Maintenance.Status, m.StatusRequest, {}, m.StatusResponse)).decoded;
  assert.match(status.version, /^3\./);
  assert.equal(status.leader, status.header?.memberId);
  const list = await ask(
    Cluster.MemberList,
    m.MemberListRequest,
    { linearizable: true },
    m.MemberListResponse,
  );
  assert.equal(list.decoded.members[0].id, status.leader);
  assert.deepEqual(list.decoded.members[0].clientUrls, [etcd.url]);
});

test("messages of a watch stream round-trip", { timeout: 60_000 }, async () => {
  const stream = client.makeBidiStreamRequest<Uint8Array, Buffer>(Watch.Watch, asIs, asIs);
  const received: Buffer[] = [];
  const messages: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]();
  const next = async (): Promise<Buffer> => {
    const { value } = await messages.next();
    received.push(value);
    return value;
  };
  const request = { key, watchId: 5, prevKv: true, filters: [m.FilterType.NODELETE] };
  stream.write(m.WatchRequest.encode({ kind: "create", request }));
  const created = decodeWatch(await next());
  assert.deepEqual([created.created, created.watchId, created.events.length], [true, 5, 0]);

  const put = await ask(KV.Put, m.PutRequest, { key, value: Buffer.from("v") }, m.PutResponse);
  const events = decodeWatch(await next()).events;
  assert.deepEqual(
    events.map(({ type, key, modRevision }) => [type, hex(key), modRevision]),
    [[m.EventType.PUT, hex(key), put.decoded.header?.revision]],
  );

  stream.write(m.WatchRequest.encode({ kind: "progress" }));
  assert.equal(decodeWatch(await next()).watchId, -1);
  stream.write(m.WatchRequest.encode({ kind: "cancel", watchId: 5 }));
  const canceled = decodeWatch(await next());
  assert.deepEqual([canceled.canceled, canceled.watchId], [true, 5]);
  for (const bytes of received)
    assert.equal(hex(m.WatchResponse.encode(m.WatchResponse.decode(bytes))), hex(bytes));
  stream.on("error", () => {});
  stream.cancel();
});

test("proto-loader reads the .proto files", async () => {
  const folder = join(packageRoot, "proto");
  const files = ["rpc.proto", "v3lock.proto", "v3election.proto"];
  const loaded = loadSync(files, { includeDirs: [folder], keepCase: true });
  const names = ["KV", "Watch", "Lease", "Cluster", "Maintenance", "Auth"].map(
    (name) => `etcdserverpb.${name}`,
  );
  for (const name of [...names, "v3lockpb.Lock", "v3electionpb.Election"]) assert.ok(loaded[name], name);
});
