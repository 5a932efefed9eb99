import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../../src/wire/messages.js";
import { Lease } from "../../src/wire/paths.js";
import { type Client, type TestProxy, TestStore, within } from "./support.js";

/** The keep-alive stream as clients use it. */
describe("keep-alive streams", () => {
  let store: TestStore;
  let proxy: TestProxy;
  let client: Client;
  let raw: GrpcClient;

  before(async () => {
    store = await TestStore.start();
    proxy = await store.proxy();
    client = proxy.client;
    raw = new GrpcClient(proxy.address, credentials.createInsecure());
  });
  after(() => {
    raw.close();
    return store.remove();
  });

  const identity = (bytes: Buffer) => bytes;
  const open = () => raw.makeBidiStreamRequest(Lease.LeaseKeepAlive, identity, identity);
  const request = (id: bigint) => Buffer.from(LeaseKeepAliveRequest.encode({ id }));

  test("a half-closed stream is answered to the end, then ends well", async () => {
    const { id } = await store.everywhere(client, 60);
    const stream = open();
    const answers: LeaseKeepAliveResponse[] = [];
    stream.on("data", (bytes: Buffer) => answers.push(LeaseKeepAliveResponse.decode(bytes)));
    const ended = new Promise<void>((resolve, reject) => stream.on("end", resolve).on("error", reject));
    for (const lease of [id, 4711n, id]) stream.write(request(lease));
    stream.end();
    await ended;
    const ttls = (lease: bigint) => answers.filter((a) => a.id === lease).map(({ ttl }) => ttl);
    assert.deepEqual([ttls(id), ttls(4711n)], [[60, 60], [0]]);
  });

  test("an answer's revision is one of before the renewal", async () => {
    const id = store.idAt(0);
    await client.grant(60, id);
    const { header } = await client.put("a/header", id);
    assert.equal((await client.renew(id)).header?.revision, header!.revision);
  });

  test("a malformed request ends the stream with an error of the client's", async () => {
    const stream = open();
    const error = new Promise<{ code: number }>((resolve) =>
      stream.on("error", (reason) => resolve(reason as unknown as { code: number })),
    );
    stream.on("data", () => assert.fail("an answer"));
    stream.write(Buffer.from([0xff]));
    assert.equal((await error).code, 3);
  });

  test("a client that does not read stops being read, and loses nothing when it reads again", async () => {
    const slow = store.idAt(0);
    const other = store.idAt(0);
    for (const id of [slow, other]) await client.grant(300, id);
    const requests = 20_000;
    const stream = open();
    stream.pause();
    let taken = 0;
    const write = () => {
      while (taken < requests && stream.write(request(slow))) taken++;
    };
    stream.on("drain", write);
    write();
    // Until the proxy takes no more from it: the flow control windows in between are full.
    let before = -1;
    await within(30_000, "the proxy stops reading", async () => {
      const stuck = taken === before;
      before = taken;
      for (let i = 0; i < 10; i++) assert.equal((await client.renew(other)).ttl, 300);
      return stuck;
    });
    assert.ok(taken < requests, "not everything has been taken");
    let answered = 0;
    stream.on("data", () => answered++);
    await within(60_000, "all answers", () => answered >= taken && taken === requests);
    stream.end();
  });

  test("a client that goes away leaves the others undisturbed", async () => {
    const { id } = await store.everywhere(client, 60);
    const leaving = open();
    leaving.on("error", () => undefined);
    for (let i = 0; i < 1_000; i++) leaving.write(request(id));
    leaving.cancel();
    assert.equal((await client.renew(id)).ttl, 60);
  });
});
