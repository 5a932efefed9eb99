import { isDeepStrictEqual } from "node:util";
import type { Router } from "../../src/routing/router.js";
import { type Answer, EtcdClient, type Message } from "./client.js";
import { extentOf, list, shardOf, shardsOf, txnReach } from "./extents.js";
import type { World } from "./generate.js";
import { fromWire, LeaseNames, type Op, show, toWire } from "./ops.js";
import { Difference, type PlainSide, type Side } from "./side.js";
import { type Restartable, StoreSide } from "./storeSide.js";
import { forgetTies, forgetTiesInTxn } from "./ties.js";
import { WatchPair } from "./watchPair.js";

type Unary = Extract<Op, { kind: "unary" }>;

const ACROSS = "etcd-braid: transaction would write across shards: ";
const TOO_MANY = "etcdserver: too many operations in txn request";
const RECENT = 40;

/** What makes revisions and leaves nothing. */
const FILL: Unary = { kind: "unary", method: "Put", request: { key: "\x02filler" } };
const EMPTY: Unary = { kind: "unary", method: "DeleteRange", request: { key: "\x02filler" } };

/**
 * A plain etcd and a store, given the same operations one after the other. Every answer must be equal, revisions
 * included. Writes on several shards take several revisions in the store: their effects are compared, and the two
 * are brought back to one revision. Transactions that would write across shards must be refused by the store.
 */
export class Pair implements World {
  readonly plain: PlainSide;
  readonly store: StoreSide;
  head = 1;
  readonly apart: { from: number; to: number }[] = [];
  compacted = 0;
  leases: string[] = [];
  written: { key: string; revision: number }[] = [];
  readonly counts = new Map<string, number>();
  private hadPlans = false;
  private readonly watching: WatchPair;

  constructor(
    plainEndpoint: string,
    store: { readonly proxies: readonly Restartable[] },
    private readonly router: Router,
    /** Moves keys of the store. */
    private readonly runPlan: () => Promise<void> = async () => {},
  ) {
    this.plain = plainSide(plainEndpoint);
    this.store = new StoreSide(store.proxies);
    this.watching = new WatchPair(this.plain, this.store, this.apart, (what, by) => this.count(what, by));
  }

  /** Begins to record the history that watchers are compared with; before the first operation, if any of them is a watch. */
  recordHistory(): Promise<void> {
    return this.watching.recordHistory();
  }

  get proxies(): number {
    return this.store.proxies.length;
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
      case "move":
        this.store.current = op.proxy;
        this.count("proxy changed");
        return this.catchUp();
      case "restart":
        await this.watching.leave(this.head, (stream) => this.store.proxyOf(stream) === op.proxy);
        await this.store.restart(op.proxy, op.signal);
        this.count(`proxy ended by ${op.signal}`);
        return this.catchUp();
      case "cancel":
        return this.watching.cancel(op.stream, op.watchId, this.head);
      case "progress":
        return this.watching.progress(op.stream, this.head);
      case "settle":
        return this.watching.settle(this.head);
      case "plan":
        this.hadPlans = true;
        return this.plan();
    }
  }

  close(): void {
    this.watching.close();
    this.plain.client.close();
    this.store.close();
  }

  /** What a proxy answers without a word to others (serializable reads, leases) is of when it last heard of them. */
  private catchUp(): Promise<void> {
    return this.unary({ kind: "unary", method: "Range", request: { key: "\0", range_end: "\0" } });
  }

  private async unary(op: Unary): Promise<void> {
    const shards = await this.shardsWritten(op);
    if (shards > 1) return this.runApart(op, shards);
    if (op.method === "Txn" && (await this.isRefused(op))) return this.count("Txn refused");
    if (op.method === "Compact") await this.watching.arrive(this.head);
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

  /** How many shards a deletion of a range or the end of a lease writes on; 0 for other operations. */
  private async shardsWritten({ method, request }: Unary): Promise<number> {
    if (method === "DeleteRange") {
      const extent = extentOf(request);
      if (shardsOf(this.router, extent).length < 2) return 0;
      const read = { key: extent.key, range_end: extent.end, keys_only: true };
      const { response } = await this.call(this.plain, { kind: "unary", method: "Range", request: read });
      return this.spread(list(response?.kvs).map((kv) => kv.key as Buffer));
    }
    if (method === "LeaseRevoke") {
      const look = { ID: request.ID, keys: true };
      const asked: Unary = { kind: "unary", method: "LeaseTimeToLive", request: look };
      const { response } = await this.call(this.plain, asked);
      return this.spread((response?.keys as Buffer[] | undefined) ?? []);
    }
    return 0;
  }

  private spread(keys: readonly Buffer[]): number {
    return new Set(keys.map((key) => shardOf(this.router, key.toString("latin1")))).size;
  }

  /** A write that takes a revision on each of its shards, and what gives the plain etcd as many. */
  private async runApart(op: Unary, shards: number): Promise<void> {
    const from = this.head;
    await this.watching.settle(from);
    const [plain, store] = await this.both((side) => this.call(side, op));
    const revisions = { plain: revisionOf(plain), store: revisionOf(store) };
    if (revisions.plain !== from + 1 || revisions.store !== from + shards) {
      throw new Difference(`a write on ${shards} shards after ${from} answers ${show(revisions)}`);
    }
    this.compare(headless(plain), headless(store), op);
    for (let i = 0; i < shards; i++) await this.call(this.plain, FILL);
    await this.call(this.store, FILL);
    const ends = await this.both((side) => this.call(side, EMPTY));
    this.compare(...ends, EMPTY);
    this.learn(op, plain);
    this.learn(EMPTY, ends[0]);
    this.apart.push({ from, to: this.head });
    this.count(`${op.method} on several shards`);
  }

  /** A plan takes revisions. Afterwards the two are brought back to one. */
  private async plan(): Promise<void> {
    const from = this.head;
    await this.watching.settle(from);
    await this.runPlan();
    // A write on each shard gives revisions to all that the plan has written there.
    const keys = this.router.shardsOf(Buffer.of(1), Buffer.of(0)).map((shard) => this.fillerOn(shard));
    const writes = keys.flatMap((key): Unary[] => [
      { ...FILL, request: { key } },
      { ...EMPTY, request: { key } },
    ]);
    let end = 0;
    for (const write of writes) end = revisionOf(await this.call(this.store, write));
    for (let revision = from + 1; revision < end; revision++) await this.call(this.plain, FILL);
    const revision = revisionOf(await this.call(this.plain, EMPTY));
    if (revision !== end) throw new Difference(`after a plan: ${show({ plain: revision, store: end })}`);
    this.head = end;
    this.apart.push({ from, to: end });
    await this.catchUp();
  }

  private fillerOn(shard: number): string {
    for (let n = 0; ; n++) if (shardOf(this.router, `\x02filler${n}`) === shard) return `\x02filler${n}`;
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
    const refused = store.code === 3 && store.message.startsWith(ACROSS);
    // The level around it counts as an operation, too.
    const isLongest = refused && plain.message === TOO_MANY;
    if (plain.code !== 0 && !isLongest) this.compare(plain, store, op);
    else if (!refused) {
      throw new Difference(`writes across shards, but the store answers ${show(store)}`);
    }
    return true;
  }

  private nameLease(plain: Answer, store: Answer): void {
    if (!plain.response || !store.response) return;
    this.plain.leases.add(String(plain.response.ID));
    this.store.leases.add(String(store.response.ID));
  }

  private compare(plain: Answer, store: Answer, op: { method: string; request: Message }): void {
    const { method } = op;
    const expected = comparable(plain, this.plain.leases, op);
    const actual = comparable(store, this.store.leases, op);
    if (method === "LeaseTimeToLive") allowForTime(expected.response, actual.response, this.hadPlans);
    if (!isDeepStrictEqual(actual, expected)) {
      throw new Difference(`plain etcd: ${show(expected)}\nstore:      ${show(actual)}`);
    }
    this.count(plain.code === 0 ? method : `${method}: ${plain.message}`);
  }

  private learn({ method, request }: Unary, { code, response }: Answer): void {
    if (code !== 0 || !response) return;
    const before = this.head;
    this.head = Number((response.header as Message).revision);
    if (method === "Compact") this.compacted = Number(request.revision);
    if (method === "LeaseGrant") this.leases.push(this.plain.leases.nameOf(String(response.ID)));
    if (method === "LeaseRevoke") this.leases = this.leases.filter((lease) => lease !== request.ID);
    if (this.head > before) {
      for (const key of putKeys(method, request)) this.written.push({ key, revision: this.head });
      this.written = this.written.slice(-RECENT);
    }
  }

  private count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }
}

export function plainSide(endpoint: string): PlainSide {
  const client = new EtcdClient(endpoint);
  return {
    client,
    leases: new LeaseNames(),
    watchClient: () => client,
    metrics: async () => (await fetch(`http://${endpoint}/metrics`)).text(),
  };
}

export function* putKeys(method: string, request: Message): Generator<string> {
  if (method === "Put") yield String(request.key);
  for (const op of [...list(request.success), ...list(request.failure)]) {
    if (op.request_put) yield String((op.request_put as Message).key);
  }
}

export interface Comparable {
  readonly code: number;
  readonly message: string;
  readonly response: Message | undefined;
}

/** Without what names the endpoint, and without orders that etcd leaves to chance. */
export function comparable(
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

function headless(answer: Answer): Answer {
  return { ...answer, response: answer.response && { ...answer.response, header: undefined } };
}

function revisionOf({ response }: Answer): number {
  return Number((response?.header as Message | undefined)?.revision);
}

function anonymous(header: Message): Message {
  return { revision: header.revision };
}

/** Seconds go by between the two answers. A lease whose home a plan has moved begins its time to live anew. */
export function allowForTime(
  expected: Message | undefined,
  actual: Message | undefined,
  hadPlans: boolean,
): void {
  if (!expected || !actual) return;
  const later = Number(actual.TTL) - Number(expected.TTL);
  const isRenewed = hadPlans && later > 0 && Number(actual.TTL) <= Number(actual.grantedTTL);
  if (Math.abs(later) <= 3 || isRenewed) actual.TTL = expected.TTL;
}
