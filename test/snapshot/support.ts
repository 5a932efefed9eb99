import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { openShard, type ShardClient } from "../../src/shard/client.js";
import {
  DeleteRangeRequest,
  type KeyValue,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  RangeRequest,
  RangeResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { peekRevision } from "../../src/wire/rewrite.js";
import { type EtcdProcess, etcdBinary, startEtcd } from "../support/etcd.js";

/** Each shard has a prefix: `/0/` is on shard0. */
export const ROUTING = {
  rules: [0, 1, 2].map((i) => ({ prefix: `/${i}/`, shard: `shard${i}` })),
};

const READ = { idempotent: true } as const;
const WRITE = { idempotent: false } as const;
const log = { debug() {}, info() {}, warn() {} };

/** A client that speaks to one endpoint as the proxies speak to shards. */
export class Client {
  readonly shard: ShardClient;

  constructor(endpoint: string) {
    const limits = { requestTimeoutMs: 20_000, connectTimeoutMs: 2_000 };
    this.shard = openShard({
      index: 0,
      name: "store",
      endpoints: [endpoint],
      ...limits,
      log,
      transport: "native",
    });
  }

  close(): void {
    this.shard.close();
  }

  /** Resolves to the revision. */
  async put(key: string, value: string, lease = 0n): Promise<number> {
    const request = PutRequest.encode({ key: Buffer.from(key), value: Buffer.from(value), lease });
    return peekRevision(await this.shard.call(KV.Put, request, WRITE));
  }

  async delete(key: string): Promise<void> {
    await this.shard.call(KV.DeleteRange, DeleteRangeRequest.encode({ key: Buffer.from(key) }), WRITE);
  }

  /** The whole store at a revision; 0: the newest. */
  async all(revision = 0): Promise<RangeResponse> {
    const everything = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0), revision };
    return RangeResponse.decode(await this.shard.call(KV.Range, RangeRequest.encode(everything), READ));
  }

  async grant(ttl: number): Promise<bigint> {
    const request = LeaseGrantRequest.encode({ ttl });
    return LeaseGrantResponse.decode(await this.shard.call(Lease.LeaseGrant, request, WRITE)).id;
  }

  async revoke(id: bigint): Promise<void> {
    await this.shard.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id }), WRITE);
  }

  async timeToLive(id: bigint): Promise<LeaseTimeToLiveResponse> {
    const request = LeaseTimeToLiveRequest.encode({ id, keys: true });
    return LeaseTimeToLiveResponse.decode(await this.shard.call(Lease.LeaseTimeToLive, request, READ));
  }
}

/** All that clients see of keys, one line each. */
export function lines(kvs: readonly KeyValue[]): string[] {
  return kvs.map(({ key, value, createRevision, modRevision, version, lease }) => {
    const [name, text] = [key, value].map((bytes) => Buffer.from(bytes).toString());
    return `${name}=${text} created ${createRevision} modified ${modRevision} version ${version} lease ${lease}`;
  });
}

export const contentOf = (kvs: readonly KeyValue[], key: string): string | undefined => {
  const found = kvs.find((kv) => Buffer.from(kv.key).toString() === key);
  return found && Buffer.from(found.value).toString();
};

/** The option that names the etcdutl beside the etcd under test, if there is one. */
export function toolOption(): string[] {
  const beside = join(dirname(etcdBinary), "etcdutl");
  return etcdBinary.includes("/") && existsSync(beside) ? ["--etcdutl", beside] : [];
}

/** Starts an etcd for each shard on what `braid snapshot restore` has built. */
export function startRestored(out: string, clusters: readonly string[]): Promise<EtcdProcess[]> {
  return Promise.all(clusters.map((name) => startEtcd({ name, dir: join(out, name, "m1") })));
}
