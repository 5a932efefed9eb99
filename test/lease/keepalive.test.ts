import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { credentials, Client as GrpcClient } from "@grpc/grpc-js";
import type { Leases } from "../../src/lease/leases.js";
import type { ServerStream } from "../../src/rpc/call.js";
import { createLease } from "../../src/services/lease.js";
import { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../../src/wire/messages.js";
import { Lease } from "../../src/wire/paths.js";
import { type Client, type TestProxy, TestStore, within } from "./support.js";

/** A transport's stream whose queue is full after every message. */
class FullStream implements ServerStream {
  readonly path = Lease.LeaseKeepAlive;
  readonly metadata = { get: () => undefined };
  readonly deadline = Number.POSITIVE_INFINITY;
  readonly cancelled = false;
  readonly queuedBytes = 0;
  paused = false;
  sent = 0;
  message: (message: Uint8Array) => void = () => {};
  drain: () => void = () => {};

  onCancel(): () => void {
    return () => {};
  }
  onMessage(listener: (message: Uint8Array) => void): void {
    this.message = listener;
  }
  onEnd(): void {}
  onDrain(listener: () => void): void {
    this.drain = listener;
  }
  send(): boolean {
    this.sent++;
    return false;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {}
}

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

  test("a half-closed stream gets all responses, then ends with OK", async () => {
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

  test("the revision of a response is from before the renewal", async () => {
    const id = store.idAt(0);
    await client.grant(60, id);
    const { header } = await client.put("a/header", id);
    assert.equal((await client.renew(id)).header?.revision, header!.revision);
  });

  test("a malformed request ends the stream with InvalidArgument", async () => {
    const stream = open();
    const error = new Promise<{ code: number }>((resolve) =>
      stream.on("error", (reason) => resolve(reason as unknown as { code: number })),
    );
    stream.on("data", () => assert.fail("an answer"));
    stream.write(Buffer.from([0xff]));
    assert.equal((await error).code, 3);
  });

  test("a client that does not read for a while loses nothing and delays no other client", async () => {
    const slow = store.idAt(0);
    const other = store.idAt(0);
    for (const id of [slow, other]) await client.grant(300, id);
    const requests = 6_000;
    const stream = open();
    stream.pause();
    for (let i = 0; i < requests; i++) stream.write(request(slow));
    for (let i = 0; i < 10; i++) assert.equal((await client.renew(other)).ttl, 300);
    let answered = 0;
    const ended = new Promise<void>((resolve, reject) => stream.on("end", resolve).on("error", reject));
    stream.on("data", () => answered++);
    stream.resume();
    stream.end();
    await ended;
    assert.equal(answered, requests);
  });

  test("a client is not read while its responses queue", async () => {
    const id = store.idAt(0);
    await client.grant(300, id);
    const stream = new FullStream();
    const { leases, timeline } = proxy;
    const service = createLease({ leases, timeline, identity: { header: () => new Uint8Array(0) } });
    service.stream.get(Lease.LeaseKeepAlive)!(stream);
    stream.message(request(id));
    await within(5_000, "an answer", () => stream.sent === 1);
    assert.equal(stream.paused, true);
    stream.drain();
    assert.equal(stream.paused, false);
  });

  test("a client is not read while it renews one lease too often", () => {
    const stream = new FullStream();
    const open = new Map<bigint, (() => void)[]>();
    const renew = (lease: bigint, done: (error: undefined, ttl: number) => void) =>
      void open.set(lease, [...(open.get(lease) ?? []), () => done(undefined, 0)]);
    const leases = { renew } as unknown as Leases;
    const service = createLease({
      leases,
      timeline: { head: 1 },
      identity: { header: () => new Uint8Array(0) },
    });
    service.stream.get(Lease.LeaseKeepAlive)!(stream);
    for (let i = 0; i < 1_000; i++) stream.message(request(BigInt(i)));
    for (let i = 0; i < 63; i++) stream.message(request(7n));
    assert.equal(stream.paused, false);
    for (let i = 0; i < 2; i++) stream.message(request(7n));
    assert.equal(stream.paused, true);
    const answer = (id: bigint) => {
      open.get(id)!.shift()!();
      stream.drain();
    };
    for (const id of [8n, 7n]) answer(id);
    assert.equal(stream.paused, true);
    answer(7n);
    assert.equal(stream.paused, false);
  });

  test("a client that goes away does not disturb the others", async () => {
    const { id } = await store.everywhere(client, 60);
    const leaving = open();
    leaving.on("error", () => undefined);
    for (let i = 0; i < 1_000; i++) leaving.write(request(id));
    leaving.cancel();
    assert.equal((await client.renew(id)).ttl, 60);
  });
});
