import assert from "node:assert/strict";
import type {
  Event,
  Init,
  KeyValue,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
} from "../../src/wire/messages.js";
import type { EtcdProcess } from "../support/etcd.js";
import { until } from "../support/until.js";
import { random } from "../watch/random.js";
import { bytes, EtcdClient, EVERYTHING, prefixEnd, text, type WatchStream } from "../watch/support.js";

/** Keys are `/g<group>/d<directory>/k<key>`. */
const GROUPS = 24;
const DIRECTORIES = 2;
const KEYS = 6;

interface Read {
  readonly request: Init<RangeRequest>;
  readonly response: RangeResponse;
}

interface Watched {
  readonly stream: WatchStream;
  readonly client: EtcdClient;
  readonly prefix: string;
  readonly prevKv: boolean;
}

/**
 * Clients that write, read, watch and hold leases through the proxies of a store. What they have seen is then compared with a
 * plain etcd that gets the same writes in the order of the store's revisions.
 */
export class Load {
  /** Revision → what an acknowledged write did there. */
  private readonly writes = new Map<number, Init<RequestOp>[]>();
  private readonly leases = new Map<bigint, number>();
  private readonly reads: Read[] = [];
  private readonly watches: Watched[] = [];
  private readonly running: Promise<void>[] = [];
  private readonly open: EtcdClient[] = [];
  private isOver = false;
  private nextLease = 0x7000n;
  private failure: unknown;
  /** A number in [0, 1). */
  private readonly random: () => number;

  constructor(seed: number) {
    const next = random(seed);
    this.random = () => next(2 ** 20) / 2 ** 20;
  }

  /** Number of acknowledged writes. */
  get count(): number {
    return this.writes.size;
  }

  /** Opens a watch of all keys with a prefix, from now on. */
  async watch(address: string, prefix = "/", prevKv = true): Promise<void> {
    const client = this.client(address);
    const stream = client.watch();
    await stream.create({ key: bytes(prefix), rangeEnd: prefixEnd(prefix), prevKv });
    this.watches.push({ stream, client, prefix, prevKv });
  }

  /** Starts a client that makes one call after the other. A call that fails fails the test. */
  start(address: string): void {
    const client = this.client(address);
    this.running.push(
      (async () => {
        try {
          while (!this.isOver) await this.step(client);
        } catch (error) {
          this.failure ??= error;
          this.isOver = true;
        }
      })(),
    );
  }

  /** Resolves when the clients have made so many more writes. */
  async more(count: number): Promise<void> {
    const enough = this.count + count;
    await until("there are more writes", () => {
      this.check();
      return this.count >= enough;
    });
  }

  /** Fails if a client has failed. */
  check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  /** Ends the clients. Resolves when their calls have ended. */
  async end(): Promise<void> {
    this.isOver = true;
    await Promise.all(this.running);
    this.check();
  }

  close(): void {
    for (const { stream } of this.watches) stream.close();
    for (const client of this.open) client.close();
  }

  private client(address: string): EtcdClient {
    const client = new EtcdClient(address);
    this.open.push(client);
    return client;
  }

  private key(): string {
    const [group, directory, key] = [GROUPS, DIRECTORIES, KEYS].map((count) =>
      Math.floor(this.random() * count),
    );
    return `/g${group}/d${directory}/k${key}`;
  }

  private async step(client: EtcdClient): Promise<void> {
    const dice = this.random();
    if (dice < 0.45) await this.put(client, this.key());
    else if (dice < 0.55) await this.delete(client, this.key());
    else if (dice < 0.65) await this.swap(client, this.key());
    else if (dice < 0.72) await this.lease(client);
    else if (dice < 0.85) await this.read(client, { key: bytes(this.key()) });
    else if (dice < 0.93) await this.read(client, { key: bytes("/g1"), rangeEnd: prefixEnd("/g1") });
    else await this.read(client, { ...EVERYTHING, limit: 1 + Math.floor(this.random() * 40) });
  }

  private async put(client: EtcdClient, key: string, more: Init<PutRequest> = {}): Promise<void> {
    const request = { key: bytes(key), value: bytes(`${this.random()}`), ...more };
    const { header } = await client.put(request);
    this.record(header!.revision, [{ kind: "put", request }]);
  }

  private async delete(client: EtcdClient, key: string): Promise<void> {
    const { header, deleted } = await client.deleteRange({ key: bytes(key) });
    if (deleted > 0) this.record(header!.revision, [{ kind: "deleteRange", request: { key: bytes(key) } }]);
  }

  /** Writes two keys of a directory if one is unchanged since a read. */
  private async swap(client: EtcdClient, key: string): Promise<void> {
    const [kv] = (await client.range({ key: bytes(key) })).kvs;
    const modRevision = kv?.modRevision ?? 0;
    const success: Init<RequestOp>[] = [key, `${key.slice(0, key.indexOf("/k"))}/other`].map((each) => ({
      kind: "put",
      request: { key: bytes(each), value: bytes(`${this.random()}`) },
    }));
    const { header, succeeded } = await client.txn({
      compare: [{ target: 2, result: 0, key: bytes(key), modRevision }],
      success,
      failure: [{ kind: "range", request: { key: bytes(key) } }],
    });
    if (succeeded) this.record(header!.revision, success);
  }

  /** Grants a lease with keys in several groups, and mostly revokes it. Its deletions are seen in the watches. */
  private async lease(client: EtcdClient): Promise<void> {
    const id = ++this.nextLease;
    await client.grant({ id, ttl: 600 });
    this.leases.set(id, 600);
    for (let i = 0; i < 3; i++) await this.put(client, this.key(), { lease: id });
    if (this.random() < 0.8) await client.revoke({ id });
  }

  private async read(client: EtcdClient, request: Init<RangeRequest>): Promise<void> {
    this.reads.push({ request, response: await client.range(request) });
  }

  private record(revision: number, ops: Init<RequestOp>[]): void {
    assert.ok(!this.writes.has(revision), `two writes have revision ${revision}`);
    this.writes.set(revision, ops);
  }

  /**
   * Gives a plain etcd all writes, and compares what watches and reads have brought, and the state now as each address shows it.
   * The store must have been empty before. Deletions that no client asked for are ends of leases.
   */
  async compare(etcd: EtcdProcess, addresses: readonly string[]): Promise<void> {
    await this.end();
    const marker = `/g0/end${this.random()}`;
    await this.put(this.client(addresses[0]!), marker);
    const last = Math.max(...this.writes.keys());
    for (const { stream, prefix } of this.watches) {
      if (prefix === "/") await stream.reaches(0, last);
    }
    const [all] = this.watches;
    assert.ok(all !== undefined && all.prefix === "/");
    const seen = all.stream.eventsOf(0);
    const deleted = new Map<number, Init<RequestOp>[]>();
    for (const { type, kv } of seen) {
      const { modRevision, key } = kv!;
      if (this.writes.has(modRevision)) continue;
      assert.equal(type, 1, `a put that no client made, at ${modRevision}`);
      deleted.set(modRevision, [
        ...(deleted.get(modRevision) ?? []),
        { kind: "deleteRange", request: { key } },
      ]);
    }
    const plain = this.client(etcd.endpoint);
    const watch = plain.watch();
    await watch.create({ ...EVERYTHING, prevKv: true });
    for (const [id, ttl] of this.leases) await plain.grant({ id, ttl });
    /** Revision of the plain etcd → revision of the store. */
    const revisions = [0, 1];
    for (const [revision, success] of [...this.writes, ...deleted].sort(([a], [b]) => a - b)) {
      const { header } = await plain.txn({ success });
      assert.equal(header!.revision, revisions.length, `at ${revision} nothing was written`);
      revisions.push(revision);
    }
    await watch.reaches(0, revisions.length - 1);
    const translate = (kv: KeyValue): KeyValue => ({
      ...kv,
      createRevision: revisions[kv.createRevision]!,
      modRevision: revisions[kv.modRevision]!,
    });
    const expected = watch.eventsOf(0).map((event) => translated(event, translate));
    for (const { stream, prefix, prevKv } of this.watches) {
      const own = expected.filter(({ kv }) => text(kv!.key).startsWith(prefix));
      if (own.length > 0) await stream.reaches(0, own.at(-1)!.kv!.modRevision);
      stream.check();
      const seenBy = ({ type, kv, prevKv: before }: Event) => shown(type, kv!, prevKv ? before : undefined);
      assert.deepEqual(stream.eventsOf(0).map(seenBy), own.map(seenBy));
    }
    for (const { request, response } of this.reads) {
      const { revision } = response.header!;
      const at = revisions.findLastIndex((each) => each <= revision);
      const there = await plain.range({ ...request, revision: at });
      const theirs = { ...there, kvs: there.kvs.map(translate) };
      const about = `${text(request.key!)} at ${revision}`;
      assert.deepEqual(response.kvs.map(shownKv), theirs.kvs.map(shownKv), about);
      assert.deepEqual([response.count, response.more], [theirs.count, theirs.more], about);
    }
    const state = (await plain.range(EVERYTHING)).kvs.map(translate).map(shownKv);
    for (const address of addresses) {
      const { kvs } = await this.client(address).range(EVERYTHING);
      assert.deepEqual(kvs.map(shownKv), state);
    }
  }
}

function translated(event: Event, translate: (kv: KeyValue) => KeyValue): Event {
  const { kv, prevKv } = event;
  // A deletion has no create revision.
  return { ...event, kv: translate(kv!), ...(prevKv && { prevKv: translate(prevKv) }) };
}

const shownKv = (kv: KeyValue): string =>
  `${text(kv.key)}=${text(kv.value)} create ${kv.createRevision} mod ${kv.modRevision} version ${kv.version} lease ${kv.lease}`;

const shown = (type: number, kv: KeyValue, before: KeyValue | undefined): string =>
  `${type} ${shownKv(kv)} before: ${before === undefined ? "" : shownKv(before)}`;
