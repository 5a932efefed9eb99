import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Leases } from "../../src/lease/leases.js";
import { createRouter } from "../../src/routing/create.js";
import type { Router } from "../../src/routing/router.js";
import { createIdentity } from "../../src/services/identity.js";
import { createKv } from "../../src/services/kv.js";
import { createLease } from "../../src/services/lease.js";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import type { Shard } from "../../src/shard/shard.js";
import { EtcdHost } from "../../src/timeline/etcdHost.js";
import type { HostWatchEvents } from "../../src/timeline/host.js";
import { markKey } from "../../src/timeline/keys.js";
import { SharedTimeline } from "../../src/timeline/timeline.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import type { GrpcServer } from "../../src/transport/server.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import {
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcds } from "../support/etcd.js";
import { mapText, newMaps, noOtherHost } from "../support/maps.js";
import { said } from "../support/said.js";
import { shardSet } from "../support/shardSet.js";

const silent = { debug() {}, info() {}, warn() {} };
const utf8 = (text: string) => Buffer.from(text);

/** Polls until `what` holds; fails after `ms` milliseconds. Returns how many milliseconds it took. */
export async function within(
  ms: number,
  text: string,
  what: () => boolean | Promise<boolean>,
): Promise<number> {
  const begin = Date.now();
  while (!(await what())) {
    assert.ok(Date.now() - begin < ms, `not within ${ms} ms: ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return Date.now() - begin;
}

function connect(name: string, endpoint: string, index = 0): ShardClient {
  const timeouts = { requestTimeoutMs: 10_000, connectTimeoutMs: 1_000 };
  return openShard({ index, name, endpoints: [endpoint], ...timeouts, log: silent });
}

/** A client of a proxy or of one backend. */
export class Client {
  constructor(readonly shard: Shard) {}

  async grant(ttl: number, id = 0n): Promise<LeaseGrantResponse> {
    return LeaseGrantResponse.decode(
      await this.write(Lease.LeaseGrant, LeaseGrantRequest.encode({ ttl, id })),
    );
  }

  async revoke(id: bigint): Promise<LeaseRevokeResponse> {
    return LeaseRevokeResponse.decode(await this.write(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id })));
  }

  async timeToLive(id: bigint, keys = false): Promise<LeaseTimeToLiveResponse> {
    const request = LeaseTimeToLiveRequest.encode({ id, keys });
    return LeaseTimeToLiveResponse.decode(await this.read(Lease.LeaseTimeToLive, request));
  }

  async leases(): Promise<LeaseLeasesResponse> {
    return LeaseLeasesResponse.decode(await this.read(Lease.LeaseLeases, LeaseLeasesRequest.encode({})));
  }

  async put(key: string, lease = 0n): Promise<PutResponse> {
    const request = PutRequest.encode({ key: utf8(key), value: utf8("v"), lease });
    return PutResponse.decode(await this.write(KV.Put, request));
  }

  async get(key: string): Promise<RangeResponse> {
    return RangeResponse.decode(await this.read(KV.Range, RangeRequest.encode({ key: utf8(key) })));
  }

  async has(key: string): Promise<boolean> {
    return (await this.get(key)).count > 0;
  }

  /** Opens a keep-alive stream. `answers` fills with responses; `error` is set when the stream has ended. */
  keepAlive(): KeepAlives {
    return new KeepAlives(this.shard);
  }

  /** Sends one keep-alive on a separate stream. */
  async renew(id: bigint): Promise<LeaseKeepAliveResponse> {
    const stream = this.keepAlive();
    stream.send(id);
    try {
      await within(15_000, `an answer to the keep-alive of ${id}`, () => stream.settled(1));
    } finally {
      stream.cancel();
    }
    if (stream.error !== undefined) throw stream.error;
    return stream.answers[0];
  }

  private read(path: string, request: Uint8Array): Promise<Uint8Array> {
    return this.call(path, request, true);
  }

  private write(path: string, request: Uint8Array): Promise<Uint8Array> {
    return this.call(path, request, false);
  }

  private call(path: string, request: Uint8Array, idempotent: boolean): Promise<Uint8Array> {
    return this.shard.call(path, request, { idempotent }).catch((error) => {
      throw said(error);
    });
  }
}

export class KeepAlives {
  readonly answers: LeaseKeepAliveResponse[] = [];
  error: Error | undefined;
  private readonly stream;

  constructor(shard: Shard) {
    this.stream = shard.stream(Lease.LeaseKeepAlive, {
      message: (message) => this.answers.push(LeaseKeepAliveResponse.decode(message)),
      closed: (error) => {
        this.error = said(error);
      },
    });
  }

  send(id: bigint): void {
    this.stream.send(LeaseKeepAliveRequest.encode({ id }));
  }

  settled(answers: number): boolean {
    return this.answers.length >= answers || this.error !== undefined;
  }

  cancel(): void {
    this.stream.cancel();
  }
}

/** Milliseconds, or what must happen first. */
type Delay = number | Promise<void>;

/** A timeline host whose watch events arrive late. */
class LateHost extends EtcdHost {
  constructor(
    etcd: ShardClient,
    private readonly delay: Delay,
  ) {
    super(etcd);
  }

  override watch(revision: number, events: HostWatchEvents, known: () => number): () => void {
    const { delay } = this;
    const late = (news: () => void) => {
      if (delay === 0) news();
      else void (typeof delay === "number" ? pause(delay) : delay).then(news);
    };
    const delayed: HostWatchEvents = {
      changes: (changes) => late(() => events.changes(changes)),
      closed: (error, compacted) => late(() => events.closed(error, compacted)),
    };
    return super.watch(revision, delayed, known);
  }
}

type Backend = Pick<EtcdProcess, "name" | "endpoint">;

/** A proxy in this process, served over gRPC, with the services that leases need. */
export class TestProxy {
  private constructor(
    readonly timeline: SharedTimeline,
    readonly leases: Leases,
    readonly shards: readonly ShardClient[],
    readonly client: Client,
    /** `127.0.0.1:port`. */
    readonly address: string,
    private readonly ends: (() => unknown)[],
  ) {}

  static async start(etcds: readonly Backend[], router: Router, delay: Delay): Promise<TestProxy> {
    const shards = etcds.map((etcd, index) => connect(names[index], etcd.endpoint, index));
    const timeline = new SharedTimeline(shards.length, {
      host: new LateHost(shards[0], delay),
      hostShard: 0,
      hostOf: noOtherHost,
      proxy: randomUUID(),
      map: mapText(shards.length),
      maps: newMaps(),
      runtime: systemRuntime,
      genesis: async () => ({
        revisions: await Promise.all(
          shards.map(async (shard) => (await new Client(shard).get("a")).header!.revision),
        ),
        clusterIds: etcds.map((etcd) => etcd.name),
      }),
      accept() {},
    });
    await timeline.open();
    const identity = createIdentity({ clusterId: 1n, memberId: 2n, timeline });
    const leases = new Leases({
      shards: shardSet(shards),
      router,
      timeline,
      log: silent,
      runtime: systemRuntime,
    });
    const limits = { maxRequestBytes: 1_572_864, maxTxnOps: 128, requestTimeoutMs: 5_000 };
    // These etcds carry no marks.
    const gen = { key: markKey("0123456789abcdef"), isOnAllShards: () => false };
    const kv = createKv({
      shards: shardSet(shards),
      router,
      timeline,
      identity,
      leases,
      gen,
      limits,
      log: silent,
    });
    const lease = createLease({ leases, timeline, identity });
    const handlers = { unary: new Map([...kv.unary, ...lease.unary]), stream: lease.stream };
    const server: GrpcServer = await serveHttp2(handlers, {
      listen: ["127.0.0.1:0"],
      maxReceiveBytes: 2 ** 21,
      highWaterBytes: 2 ** 16,
    });
    const address = server.addresses[0].replace("http://", "");
    const client = new Client(connect("proxy", address));
    return new TestProxy(timeline, leases, shards, client, address, [
      () => client.shard.close(),
      () => leases.stop(),
      () => kv.stop?.(),
      () => timeline.close(),
      () => shards.map((shard) => shard.close()),
      () => server.shutdown(0),
    ]);
  }

  /** Ends it abruptly, as a crash does. */
  async stop(): Promise<void> {
    for (const end of this.ends.splice(0)) await end();
  }
}

const names = ["a", "b", "c"];

/** Three etcds and the proxies over them. */
export class TestStore {
  private readonly proxies: TestProxy[] = [];
  private serial = 0;

  private constructor(
    readonly etcds: EtcdProcess[],
    readonly backends: readonly Client[],
    readonly router: Router,
  ) {}

  static async start(): Promise<TestStore> {
    const etcds = await startEtcds(3);
    const router = await createRouter({
      shards: names.map((name) => ({ name, weight: 1 })),
      rules: names.map((shard) => ({ prefix: utf8(`${shard}/`), delimiter: 0x2f, segments: 0, shard })),
    });
    const backends = etcds.map((etcd, i) => new Client(connect(`backend ${names[i]}`, etcd.endpoint)));
    return new TestStore(etcds, backends, router);
  }

  /**
   * Starts a proxy that sees changes of the timeline log late, by `delay`. `endpoints`, by shard, replace the
   * shards' own endpoints.
   */
  async proxy(delay: Delay = 0, endpoints: Readonly<Record<number, string>> = {}): Promise<TestProxy> {
    const backends = this.etcds.map(({ name, endpoint }, i) => ({
      name,
      endpoint: endpoints[i] ?? endpoint,
    }));
    const proxy = await TestProxy.start(backends, this.router, delay);
    this.proxies.push(proxy);
    return proxy;
  }

  /** Ends all proxies started so far. */
  async stopProxies(): Promise<void> {
    for (const proxy of this.proxies.splice(0)) await proxy.stop();
  }

  async remove(): Promise<void> {
    await this.stopProxies();
    for (const { shard } of this.backends) shard.close();
    await Promise.all(this.etcds.map((etcd) => etcd.remove()));
  }

  /** Returns a new lease id whose home is `shard`. */
  idAt(shard: number): bigint {
    for (;;) {
      const id = BigInt(1_000 + this.serial++);
      if (this.router.homeOf(id) === shard) return id;
    }
  }

  /** Returns a new key for every shard, in shard order. */
  keys(): string[] {
    const n = this.serial++;
    return names.map((name) => `${name}/${n}`);
  }

  /** Which of these keys, one per shard, the shards themselves have. */
  async present(keys: readonly string[]): Promise<string[]> {
    const found = await Promise.all(keys.map((key, shard) => this.backends[shard].has(key)));
    return keys.filter((_, i) => found[i]);
  }

  /** Grants a lease through `client`, with a key on every shard. */
  async everywhere(client: Client, ttl: number, home = 0): Promise<{ id: bigint; keys: string[] }> {
    const id = this.idAt(home);
    await client.grant(ttl, id);
    const keys = this.keys();
    for (const key of keys) await client.put(key, id);
    assert.deepEqual(await this.present(keys), keys);
    return { id, keys };
  }

  /** A condition for `until`: no shard has its key. */
  gone(keys: readonly string[]): () => Promise<boolean> {
    return async () => (await this.present(keys)).length === 0;
  }
}
