import { isDeepStrictEqual } from "node:util";
import type { Router } from "../../src/routing/router.js";
import { type Answer, EtcdClient, type Message } from "./client.js";
import { extentOf, list, shardOf, shardsOf, txnReach } from "./extents.js";
import type { World } from "./generate.js";
import { fromWire, LeaseNames, type Op, show, toWire } from "./ops.js";
import { Difference, type Side } from "./side.js";
import { forgetTies, forgetTiesInTxn } from "./ties.js";
import { WatchPair } from "./watchPair.js";

type Unary = Extract<Op, { kind: "unary" }>;

const ACROSS = "etcd-braid: transaction would write across shards: ";
const RECENT = 40;

/**
 * A plain etcd and a store, given the same operations one after the other. Every answer must be equal, revisions
 * included. Operations that are different on purpose (writes on several shards) are left out, and it is checked
 * that the store refuses what it must.
 */
export class Pair implements World {
  readonly plain: Side;
  readonly store: Side;
  head = 1;
  compacted = 0;
  autoLeases = 0;
  written: { key: string; revision: number }[] = [];
  readonly counts = new Map<string, number>();
  private readonly watching: WatchPair;

  constructor(
    plainEndpoint: string,
    storeEndpoint: string,
    private readonly router: Router,
  ) {
    this.plain = { client: new EtcdClient(plainEndpoint), leases: new LeaseNames() };
    this.store = { client: new EtcdClient(storeEndpoint), leases: new LeaseNames() };
    this.watching = new WatchPair(this.plain, this.store, (what, by) => this.count(what, by));
  }

  /** Begins to record the history that watchers are compared with; before the first operation, if any of them is a watch. */
  recordHistory(): Promise<void> {
    return this.watching.recordHistory();
  }

  get watchers(): readonly (readonly string[])[] {
    return this.watching.living();
  }

  /** Runs one operation on both sides. Rejects with `Difference`. */
  async run(op: Op): Promise<void> {
    switch (op.kind) {
      case "unary":
        return this.unary(op);
      case "keepAlive": {
        const requests = (side: Side) => op.ids.map((ID) => toWire({ ID }, side.leases) as Message);
        const [plain, store] = await this.both((side) => side.client.keepAlive(requests(side)));
        return this.compare(plain, store, { method: op.kind, request: {} });
      }
      case "watch":
        return this.watching.create(op.stream, op.request, this.head, this.compacted);
      case "cancel":
        return this.watching.cancel(op.stream, op.watchId, this.head);
      case "progress":
        return this.watching.progress(op.stream, this.head);
      case "settle":
        return this.watching.settle(this.head);
    }
  }

  close(): void {
    this.watching.close();
    this.plain.client.close();
    this.store.client.close();
  }

  private async unary(op: Unary): Promise<void> {
    if (await this.isDifferentByDesign(op)) return this.count(`${op.method} left out`);
    if (op.method === "Txn" && (await this.isRefused(op))) return this.count("Txn refused");
    if (op.method === "Compact") await this.watching.settle(this.head);
    const [plain, store] = await this.both((side) => this.call(side, op));
    if (op.method === "LeaseGrant" && op.request.ID === "0") this.nameLease(plain, store);
    this.compare(plain, store, op);
    this.learn(op, plain);
  }

  private call({ client, leases }: Side, { method, request }: Unary): Promise<Answer> {
    return client.call(method, toWire(request, leases) as Message);
  }

  private both<T>(call: (side: Side) => Promise<T>): Promise<[T, T]> {
    return Promise.all([call(this.plain), call(this.store)]);
  }

  /** Writes of several keys on several shards take several revisions there and one on a plain etcd. */
  private async isDifferentByDesign({ method, request }: Unary): Promise<boolean> {
    if (method === "DeleteRange") {
      const extent = extentOf(request);
      if (shardsOf(this.router, extent).length < 2) return false;
      const read = { key: extent.key, range_end: extent.end, keys_only: true };
      const { response } = await this.call(this.plain, { kind: "unary", method: "Range", request: read });
      return this.isSpread(list(response?.kvs).map((kv) => kv.key as Buffer));
    }
    if (method === "LeaseRevoke") {
      const look = { ID: request.ID, keys: true };
      const asked: Unary = { kind: "unary", method: "LeaseTimeToLive", request: look };
      const { response } = await this.call(this.plain, asked);
      return this.isSpread((response?.keys as Buffer[] | undefined) ?? []);
    }
    return false;
  }

  private isSpread(keys: readonly Buffer[]): boolean {
    return new Set(keys.map((key) => shardOf(this.router, key.toString("latin1")))).size > 1;
  }

  /**
   * True for a transaction that would write across shards: the store must refuse it for that, unless a plain etcd
   * refuses it unseen. The plain one gets it where it is checked and never executed.
   */
  private async isRefused(op: Unary): Promise<boolean> {
    const reach = txnReach(this.router, op.request);
    if (!reach.writes || reach.shards.size < 2) return false;
    const never = { compare: [{ key: "\x01never", target: "VERSION", result: "GREATER", version: 1 }] };
    const wrapped: Unary = { ...op, request: { ...never, success: [{ request_txn: op.request }] } };
    const [plain, store] = await Promise.all([this.call(this.plain, wrapped), this.call(this.store, op)]);
    if (plain.code !== 0) this.compare(plain, store, op);
    else if (store.code !== 3 || !store.message.startsWith(ACROSS)) {
      throw new Difference(`writes across shards, but the store answers ${show(store)}`);
    }
    return true;
  }

  private nameLease(plain: Answer, store: Answer): void {
    if (!plain.response || !store.response) return;
    this.plain.leases.add(String(plain.response.ID));
    this.store.leases.add(String(store.response.ID));
    this.autoLeases++;
  }

  private compare(plain: Answer, store: Answer, op: { method: string; request: Message }): void {
    const { method } = op;
    const expected = comparable(plain, this.plain.leases, op);
    const actual = comparable(store, this.store.leases, op);
    if (method === "LeaseTimeToLive") allowForTime(expected.response, actual.response);
    if (!isDeepStrictEqual(actual, expected)) {
      throw new Difference(`plain etcd: ${show(expected)}\nstore:      ${show(actual)}`);
    }
    this.count(plain.code === 0 ? method : `${method} (error)`);
  }

  private learn({ method, request }: Unary, { code, response }: Answer): void {
    if (code !== 0 || !response) return;
    const before = this.head;
    this.head = Number((response.header as Message).revision);
    if (method === "Compact") this.compacted = Number(request.revision);
    if (this.head > before) {
      for (const key of putKeys(method, request)) this.written.push({ key, revision: this.head });
      this.written = this.written.slice(-RECENT);
    }
  }

  private count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }
}

function* putKeys(method: string, request: Message): Generator<string> {
  if (method === "Put") yield String(request.key);
  for (const op of [...list(request.success), ...list(request.failure)]) {
    if (op.request_put) yield String((op.request_put as Message).key);
  }
}

interface Comparable {
  readonly code: number;
  readonly message: string;
  readonly response: Message | undefined;
}

/** Without what names the endpoint, and without orders that etcd leaves to chance. */
function comparable(
  answer: Answer,
  leases: LeaseNames,
  { method, request }: { method: string; request: Message },
): Comparable {
  const response = fromWire(answer.response, leases) as Message | undefined;
  for (const part of [response, ...list(response?.answers)]) {
    if (part?.header) part.header = anonymous(part.header as Message);
  }
  if (Array.isArray(response?.keys)) response.keys.sort();
  if (Array.isArray(response?.leases)) response.leases.sort(byId);
  // On one stream, etcd answers for all leases in turn; a store with a shard that is down must not.
  if (Array.isArray(response?.answers)) response.answers.sort(byId);
  if (response && method === "Range") forgetTies(request, response);
  if (response && method === "Txn") forgetTiesInTxn(request, response);
  return { code: answer.code, message: answer.message, response };
}

function byId(a: Message, b: Message): number {
  return String(a.ID) < String(b.ID) ? -1 : String(a.ID) > String(b.ID) ? 1 : 0;
}

function anonymous(header: Message): Message {
  return { revision: header.revision };
}

/** Seconds go by between the two answers. */
function allowForTime(expected: Message | undefined, actual: Message | undefined): void {
  if (!expected || !actual) return;
  if (Math.abs(Number(expected.TTL) - Number(actual.TTL)) <= 3) actual.TTL = expected.TTL;
}
