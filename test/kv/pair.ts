import assert from "node:assert/strict";
import { openStore, type Store } from "../../src/app/store/store.js";
import { parseConfig } from "../../src/config/load.js";
import { Leases } from "../../src/lease/leases.js";
import { createLog } from "../../src/ops/log.js";
import type { Call, UnaryHandler } from "../../src/rpc/call.js";
import { createIdentity } from "../../src/services/identity.js";
import { createKv } from "../../src/services/kv.js";
import { createLease } from "../../src/services/lease.js";
import { openShard } from "../../src/shard/client.js";
import { StatusError } from "../../src/status/error.js";
import { systemRuntime } from "../../src/turn/runtime.js";
import {
  type Codec,
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  type Init,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  type ResponseHeader,
  type ResponseOp,
  TxnRequest,
  TxnResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { type EtcdProcess, startEtcd, startEtcds } from "../support/etcd.js";
import { bytes } from "./model.js";

const METHODS = {
  range: [KV.Range, RangeRequest, RangeResponse],
  put: [KV.Put, PutRequest, PutResponse],
  deleteRange: [KV.DeleteRange, DeleteRangeRequest, DeleteRangeResponse],
  txn: [KV.Txn, TxnRequest, TxnResponse],
  compact: [KV.Compact, CompactionRequest, CompactionResponse],
  grant: [Lease.LeaseGrant, LeaseGrantRequest, LeaseGrantResponse],
  revoke: [Lease.LeaseRevoke, LeaseRevokeRequest, LeaseRevokeResponse],
} as const;

export type Method = keyof typeof METHODS;
type Message<C> = C extends Codec<infer T> ? T : never;
export type Request<M extends Method> = Init<Message<(typeof METHODS)[M][1]>>;
export type Response<M extends Method> = Message<(typeof METHODS)[M][2]>;

/** Calls etcd's unary methods. */
export type Ask = <M extends Method>(method: M, request: Request<M>) => Promise<Response<M>>;

type Bytes = (path: string, request: Uint8Array) => Promise<Uint8Array>;

function asker(send: Bytes): Ask {
  return async (method, request) => {
    const [path, input, output] = METHODS[method];
    const response = await send(path, (input as Codec<unknown>).encode(request));
    return (output as Codec<unknown>).decode(response) as never;
  };
}

/** A call as a transport makes it. */
export class TestCall implements Call {
  readonly metadata = { get: () => undefined };
  cancelled = false;
  private readonly listeners = new Set<() => void>();

  constructor(
    readonly path: string,
    readonly deadline = Number.POSITIVE_INFINITY,
  ) {}

  onCancel(listener: () => void): () => void {
    if (this.cancelled) listener();
    else this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  cancel(): void {
    this.cancelled = true;
    for (const listener of [...this.listeners]) listener();
    this.listeners.clear();
  }

  get waiting(): number {
    return this.listeners.size;
  }
}

/** Calls a handler. Fails the test when it replies twice. */
export function invoke(handler: UnaryHandler, call: Call, request: Uint8Array): Promise<Uint8Array> {
  let replies = 0;
  return new Promise((resolve, reject) => {
    handler(call, request, (error, response) => {
      assert.equal(++replies, 1, "one reply per call");
      if (error !== undefined) reject(error);
      else resolve(response as Uint8Array);
    });
  });
}

/** The KV and Lease services of one proxy in this process. */
export interface TestProxy {
  readonly ask: Ask;
  readonly store: Store;
  readonly handler: (path: string) => UnaryHandler;
  stop(): void;
}

/** Keys that begin with "a" are on the first shard, "b" on the second, "c" on the third. Others follow the hash. */
export async function openProxy(
  shards: readonly EtcdProcess[],
  config: Readonly<Record<string, unknown>> = {},
): Promise<TestProxy> {
  const log = createLog("silent");
  const rules = ["a", "b", "c"].map((prefix, i) => ({ prefix, segments: 0, shard: `shard${i}` }));
  const text = JSON.stringify({
    shards: shards.map((shard, i) => ({ name: `shard${i}`, endpoints: [shard.endpoint] })),
    routing: { rules },
    ...config,
  });
  const parsed = parseConfig(text, "test");
  const store = await openStore(parsed, log);
  const { router, shards: guarded, timeline, id, gen } = store;
  const identity = createIdentity({ clusterId: id, memberId: 7n, timeline });
  const leases = new Leases({ shards: guarded, router, timeline, log, runtime: systemRuntime });
  const kv = createKv({
    router,
    timeline,
    shards: guarded,
    identity,
    leases,
    gen,
    limits: parsed.limits,
    log,
  });
  const handlers = new Map([...kv.unary, ...createLease({ leases, timeline, identity }).unary]);
  const handler = (path: string) => handlers.get(path) as UnaryHandler;
  return {
    ask: asker((path, request) => invoke(handler(path), new TestCall(path), request)),
    store,
    handler,
    stop: () => {
      kv.stop?.();
      leases.stop();
      store.close();
    },
  };
}

/** One etcd, called directly. */
export function openPlain(etcd: EtcdProcess): { ask: Ask; close(): void } {
  const log = createLog("silent");
  const timeouts = { requestTimeoutMs: 20_000, connectTimeoutMs: 5_000 };
  const shard = openShard({ index: 0, name: "plain", endpoints: [etcd.endpoint], ...timeouts, log });
  return {
    ask: asker((path, request) => shard.call(path, request, { idempotent: false })),
    close: () => shard.close(),
  };
}

/** A plain etcd, and a proxy over three shards, which must respond alike. */
export interface Pair {
  /** Calls both, compares, and returns the proxy's response, or undefined when both refused. */
  both<M extends Method>(method: M, request: Request<M>): Promise<Response<M> | undefined>;
  /** Makes the same concurrent calls to both, each in order. */
  readonly braid: TestProxy;
  readonly plain: Ask;
  readonly shards: readonly EtcdProcess[];
  close(): Promise<void>;
}

export async function openPair(config: Readonly<Record<string, unknown>> = {}): Promise<Pair> {
  const [shards, alone] = await Promise.all([startEtcds(3), startEtcd()]);
  const braid = await openProxy(shards, config);
  const plain = openPlain(alone);
  return {
    braid,
    plain: plain.ask,
    shards,
    both: async (method, request) => {
      const [ours, theirs] = await Promise.all([
        outcome(braid.ask(method, request)),
        outcome(plain.ask(method, request)),
      ]);
      assert.deepEqual(comparable(ours), comparable(theirs), describe(method, request));
      return ours instanceof StatusError ? undefined : ours;
    },
    close: async () => {
      braid.stop();
      plain.close();
      await Promise.all([...shards, alone].map((etcd) => etcd.remove()));
    },
  };
}

/** A promise's value, or the error that it rejects with. */
export async function outcome<T>(promise: Promise<T>): Promise<T | StatusError> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
}

/** A response without what differs between clusters: cluster id, member id and Raft term. Bytes as text. */
export function comparable(answer: unknown): unknown {
  if (answer instanceof StatusError) return { code: answer.code, message: answer.message };
  return strip(answer);
}

function strip(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (Array.isArray(value)) return value.map(strip);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value as ResponseHeader | ResponseOp);
  const kept = entries.filter(([name]) => !["clusterId", "memberId", "raftTerm"].includes(name));
  return Object.fromEntries(kept.map(([name, field]) => [name, strip(field)]));
}

export function describe(method: string, request: unknown): string {
  const shown = JSON.stringify(strip(request), (_, value) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
  return `${method} ${shown}`;
}

/** Shorthands for requests. */
export const key = (text: string) => ({ key: bytes(text) });
export const between = (from: string, end: string) => ({ key: bytes(from), rangeEnd: bytes(end) });
export const put = (text: string, value = "", lease = 0n) => ({ ...key(text), value: bytes(value), lease });
