import { isDeepStrictEqual } from "node:util";
import type { Router } from "../../src/routing/router.js";
import { until } from "../support/until.js";
import type { Answer, Duplex, Message } from "./client.js";
import { list, txnReach } from "./extents.js";
import type { World } from "./generate.js";
import { fromWire, type LeaseNames, type Op, show, toWire } from "./ops.js";
import { allowForTime, comparable, plainSide, putKeys } from "./pair.js";
import { Difference, type PlainSide, type Side } from "./side.js";
import { type Restartable, StoreSide } from "./storeSide.js";

type Unary = Extract<Op, { kind: "unary" }>;

const RECENT = 40;
/** The revisions of a kv. A header has other ones. */
const KV_REVISIONS = new Set(["create_revision", "mod_revision"]);
/** A revision of a request that is above both heads. */
const FUTURE = 1_000_000_000;
const EVERYTHING = { key: Buffer.of(0), range_end: Buffer.of(0) };

/**
 * Like `Pair`, for a store whose keys move during the operations. Plans take revisions at any time, so the two sides have different
 * revisions. Each write of an operation has one on both. With these, revisions are translated: a request's before it is sent to the
 * store, and an answer's before they are compared.
 */
export class MovingPair implements World {
  readonly apart: World["apart"] = [];
  readonly watchers: World["watchers"] = [];
  compacted = 0;
  leases: string[] = [];
  written: { key: string; revision: number }[] = [];
  readonly counts = new Map<string, number>();
  private readonly plain: PlainSide;
  private readonly store: StoreSide;
  private readonly histories: readonly WatchedHistory[];
  /** Revision of the plain etcd → of the store. */
  private readonly revisions = [0, 1];

  constructor(
    plainEndpoint: string,
    store: { readonly proxies: readonly Restartable[] },
    /** Has the groups of the rules on different shards. */
    private readonly groups: Router,
  ) {
    this.plain = plainSide(plainEndpoint);
    this.store = new StoreSide(store.proxies);
    this.histories = [this.plain.client, ...store.proxies.map((_, i) => this.store.watchClient(i))].map(
      (client) => new WatchedHistory(client.watch()),
    );
  }

  get head(): number {
    return this.revisions.length - 1;
  }

  get proxies(): number {
    return this.store.proxies.length;
  }

  /** Resolves when the watches that `compareHistories` compares are open. */
  async recordHistory(): Promise<void> {
    await Promise.all(this.histories.map((history) => history.opened));
  }

  /** Runs an operation on both sides. Rejects with `Difference`. Leaves out what plans change: restarts, and other watches. */
  async run(op: Op): Promise<void> {
    if (op.kind === "unary") return this.unary(op);
    if (op.kind === "keepAlive") {
      const requests = (side: Side) => op.ids.map((ID) => toWire({ ID }, side.leases) as Message);
      const [plain, store] = await this.both((side) => side.client.keepAlive(requests(side)));
      this.compare(plain, store, { method: op.kind, request: {} });
    } else if (op.kind === "move") {
      this.store.current = op.proxy;
      this.count("proxy changed");
      // What a proxy answers without a word to others is of when it last heard of them.
      await this.unary({ kind: "unary", method: "Range", request: { key: "\0", range_end: "\0" } });
    }
  }

  /** Compares the events of all keys, which every proxy must have brought once and in order. */
  async compareHistories(): Promise<void> {
    await this.arrive();
    const [plain, ...stores] = this.histories.map(({ events }) => events);
    const expected = plain!.map((event) => shownEvent(event, this.plain.leases, (revision) => revision));
    const toPlain = (revision: number) => this.revisions.findIndex((each) => each >= revision);
    for (const events of stores) {
      const newest = events.map(revisionOfEvent);
      if (newest.some((revision, i) => revision < (newest[i - 1] ?? 0)))
        throw new Difference("events are out of order");
      const actual = events.map((event) => shownEvent(event, this.store.leases, toPlain));
      // A write on several shards has one revision on the plain etcd, whose events are in key order.
      if (!isDeepStrictEqual(sorted(actual), sorted(expected))) {
        const at = sorted(actual).findIndex((text, i) => text !== sorted(expected)[i]);
        const [is, should] = [actual, expected].map((texts) =>
          sorted(texts).slice(Math.max(0, at - 1), at + 3),
        );
        throw new Difference(`events of the plain etcd: ${show(should)}\nof the store: ${show(is)}`);
      }
    }
    this.count("events", expected.length);
  }

  close(): void {
    for (const history of this.histories) history.close();
    this.plain.client.close();
    this.store.close();
  }

  private async unary(op: Unary): Promise<void> {
    if (op.method === "Txn") {
      // Whether it writes across shards depends on how far the plan is.
      const reach = txnReach(this.groups, op.request);
      if (reach.writes && reach.shards.size > 1) return;
    }
    // A compaction takes previous keys from events that are late.
    if (op.method === "Compact") await this.arrive();
    const translated = { ...op, request: this.toStore(op.request) as Message };
    const call = (side: Side) => {
      const { method, request } = side === this.plain ? op : translated;
      return side.client.call(method, toWire(request, side.leases) as Message);
    };
    const answers = await this.both(call);
    const [plain] = answers;
    let [, store] = answers;
    // A serializable read does not wait for keys that move, and shows the state from before.
    const isOld = () =>
      store.code === 0 && headerRevision(store.response) < this.revisions[headerRevision(plain.response)]!;
    if (isSerializable(op)) {
      await until("a serializable read shows the newest state", async () => {
        if (isOld()) store = await call(this.store);
        return !isOld();
      });
    }
    if (op.method === "LeaseGrant" && op.request.ID === "0" && plain.response && store.response) {
      this.plain.leases.add(String(plain.response.ID));
      this.store.leases.add(String(store.response.ID));
    }
    this.learn(op, plain, store);
    this.compare(plain, store, op);
  }

  private both<T>(call: (side: Side) => Promise<T>): Promise<[T, T]> {
    return Promise.all([call(this.plain), call(this.store)]);
  }

  /**
   * Resolves when the watches have all events. They are counted, because the response to a LeaseRevoke may have the revision of a
   * plan's later step, which has none.
   */
  private async arrive(): Promise<void> {
    const { head } = this;
    const [plain, ...stores] = this.histories;
    const hasAll = () => {
      for (const { ended } of this.histories)
        if (ended !== undefined) throw new Difference(`a watch ended: ${ended}`);
      const wanted = plain!.events.length;
      const isComplete = head === 1 || revisionOfEvent(plain!.events.at(-1)) >= head;
      return isComplete && stores.every(({ events }) => events.length >= wanted);
    };
    await until("all watches have all events", hasAll);
  }

  private compare(plain: Answer, store: Answer, op: { method: string; request: Message }): void {
    const expected = comparable(plain, this.plain.leases, op);
    const response = this.toPlain(store.response) as Message | undefined;
    const actual = comparable({ ...store, response }, this.store.leases, op);
    if (op.method === "LeaseTimeToLive") allowForTime(expected.response, actual.response, true);
    if (!isDeepStrictEqual(actual, expected))
      throw new Difference(`plain etcd: ${show(expected)}\nstore:      ${show(actual)}`);
    this.count(plain.code === 0 ? op.method : `${op.method}: ${plain.message}`);
  }

  private learn({ method, request }: Unary, plain: Answer, store: Answer): void {
    if (plain.code !== 0 || !plain.response || !store.response) return;
    const { head } = this;
    const [there, here] = [plain, store].map(({ response }) => headerRevision(response));
    if (there! > head) {
      if (there !== head + 1 || here! <= this.revisions[head]!)
        throw new Difference(
          `a write after ${show([head, this.revisions[head]])} answers ${show([there, here])}`,
        );
      this.revisions.push(here!);
      for (const key of putKeys(method, request)) this.written.push({ key, revision: this.head });
      this.written = this.written.slice(-RECENT);
    }
    if (method === "Compact") this.compacted = Number(request.revision);
    if (method === "LeaseGrant") this.leases.push(this.plain.leases.nameOf(String(plain.response.ID)));
    if (method === "LeaseRevoke") this.leases = this.leases.filter((lease) => lease !== request.ID);
  }

  /** A request with the store's revisions. */
  private toStore(value: unknown, field = ""): unknown {
    if (Array.isArray(value)) return value.map((each) => this.toStore(each));
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([name, each]) => [name, this.toStore(each, name)]),
      );
    }
    if (!field.endsWith("revision") || typeof value !== "number" || value <= 0) return value;
    if (value <= this.head) return this.revisions[value];
    return value >= FUTURE ? value : FUTURE + value;
  }

  /** An answer with the plain etcd's revisions. */
  private toPlain(value: unknown, field = ""): unknown {
    if (Array.isArray(value)) return value.map((each) => this.toPlain(each));
    if (value !== null && typeof value === "object" && !Buffer.isBuffer(value)) {
      return Object.fromEntries(
        Object.entries(value).map(([name, each]) => [name, this.toPlain(each, name)]),
      );
    }
    if (field === "revision") return String(this.revisions.findLastIndex((each) => each <= Number(value)));
    if (!KV_REVISIONS.has(field)) return value;
    const revision = this.revisions.indexOf(Number(value));
    return revision < 0 ? `${value} in the store` : String(revision);
  }

  private count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }
}

/** All events of a watch of all keys. */
class WatchedHistory {
  readonly events: Message[] = [];
  readonly opened: Promise<unknown>;
  /** Why it brings no more events. */
  ended: string | undefined;

  constructor(private readonly stream: Duplex) {
    this.opened = new Promise((resolve) => {
      stream.on("data", (message: Message) => {
        if (message.created) resolve(undefined);
        if (message.canceled) this.ended = show(message);
        this.events.push(...list(message.events));
      });
    });
    stream.on("error", (error: Error) => {
      this.ended ??= error.message;
    });
    stream.on("end", () => {
      this.ended ??= "the server has ended the stream";
    });
    stream.write({ create_request: { ...EVERYTHING, prev_kv: true } });
  }

  close(): void {
    this.stream.cancel();
  }
}

const isSerializable = ({ request }: Unary): boolean => show(request).includes('"serializable":true');

const headerRevision = (response: Message | undefined): number =>
  Number((response?.header as Message | undefined)?.revision);

const revisionOfEvent = (event: Message | undefined): number =>
  Number((event?.kv as Message | undefined)?.mod_revision ?? 0);

const sorted = (texts: readonly string[]): string[] => [...texts].sort();

/** An event as text, with all revisions translated. */
function shownEvent(event: Message, leases: LeaseNames, toPlain: (revision: number) => number): string {
  const kv = (value: unknown): unknown => {
    if (value === undefined) return undefined;
    const each = fromWire(value, leases) as Message;
    for (const field of KV_REVISIONS)
      if (each[field] !== undefined) each[field] = toPlain(Number(each[field]));
    return each;
  };
  return JSON.stringify([
    revisionOfEvent({ kv: kv(event.kv) }),
    event.type ?? "PUT",
    kv(event.kv),
    kv(event.prev_kv),
  ]);
}
