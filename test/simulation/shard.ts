import { StatusError } from "../../src/status/error.js";
import { etcd } from "../../src/status/etcd.js";
import type { HostChange } from "../../src/timeline/host.js";
import {
  CompactionRequest,
  CompactionResponse,
  EMPTY,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  type WatchCreateRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { KV, Lease } from "../../src/wire/paths.js";
import { SimEtcd } from "../timeline/sim/etcd.js";
import type { Random, Scheduler } from "../timeline/sim/scheduler.js";

/** How a lease ended on a shard. */
export type Cause = "expired" | "revoked";

interface SimLease {
  readonly ttl: number;
  readonly grantedAt: number;
  expiresAt: number;
  readonly keys: Set<string>;
}

/** An event as this shard's clients see it. */
export interface ShardEvent {
  readonly type: 0 | 1;
  readonly key: string;
  readonly value: string;
  readonly lease: bigint;
}

/** How often an etcd checks for expired leases. */
const EXPIRY_INTERVAL_MS = 500;
/** Longest time that an etcd takes to serve a watch that begins in the past, or to refuse it. */
const MAX_CATCH_UP_MS = 100;
/** How far a member's list of leases may lag. */
const MAX_LIST_LAG_MS = 200;

const WRITES: ReadonlySet<string> = new Set([KV.Put, Lease.LeaseGrant, Lease.LeaseRevoke, KV.Compact]);

/** One shard's etcd in memory: keys, leases, compaction and watches. It speaks wire messages, and each call is one step. */
export class SimShard {
  store = new SimEtcd();
  clusterId: bigint;
  /** Number of times that it has lost data. */
  generation = 0;
  /** Time until which it is frozen, ms. */
  frozenUntil = 0;
  /** Called with every write that arrives, before it is executed. */
  onWrite: (path: string) => void = () => {};
  /** Called at the end of every lease here, with the keys that are deleted with it. */
  onLeaseEnd: (lease: bigint, cause: Cause, keys: readonly string[]) => void = () => {};
  /** Revisions whose deletions are missing from watches that begin there. */
  readonly silent = new Set<number>();
  private leases = new Map<bigint, SimLease>();
  /** Key → its lease, now. */
  private attached = new Map<string, bigint>();
  /** The lease of each version of a key: revision and key → lease. */
  private readonly versions = new Map<string, bigint>();
  /** Past lists of lease ids with their times, oldest first. */
  private lists: { readonly at: number; readonly ids: readonly bigint[] }[] = [{ at: 0, ids: [] }];

  constructor(
    private readonly scheduler: Scheduler,
    private readonly random: Random,
    readonly index: number,
    /** etcd before 3.5.18 has no event for a key that was deleted at the compacted revision. */
    private readonly dropsTombstones: boolean,
  ) {
    this.clusterId = BigInt(index + 1);
    this.expireLater();
  }

  /** Ids of all leases. */
  get leaseIds(): readonly bigint[] {
    return [...this.leases.keys()];
  }

  hasLease(lease: bigint): boolean {
    return this.leases.has(lease);
  }

  /** How long it has had a lease, ms; 0 if it does not. */
  ageOf(lease: bigint): number {
    return this.scheduler.now - (this.leases.get(lease)?.grantedAt ?? this.scheduler.now);
  }

  keysOf(lease: bigint): readonly string[] {
    return [...(this.leases.get(lease)?.keys ?? [])];
  }

  /** Returns the events of a change that clients see. */
  eventsOf({ revision, puts, deletes }: HostChange): ShardEvent[] {
    return [
      ...puts
        .filter(({ key }) => !key.startsWith("\0"))
        .map(({ key, value }) => ({
          type: 0 as const,
          key,
          value: Buffer.from(value).toString(),
          lease: this.versions.get(`${revision} ${key}`) ?? 0n,
        })),
      ...deletes
        .filter((key) => !key.startsWith("\0"))
        .map((key) => ({ type: 1 as const, key, value: "", lease: 0n })),
    ];
  }

  /** Executes a unary call. Throws etcd's errors. */
  handle(path: string, request: Uint8Array): Uint8Array {
    if (WRITES.has(path)) this.onWrite(path);
    switch (path) {
      case KV.Range:
        return this.range(RangeRequest.decode(request));
      case KV.Put:
        return this.put(PutRequest.decode(request));
      case KV.Compact:
        return this.compact(CompactionRequest.decode(request).revision);
      case Lease.LeaseGrant:
        return this.grant(LeaseGrantRequest.decode(request));
      case Lease.LeaseRevoke:
        return this.revoke(LeaseRevokeRequest.decode(request).id);
      case Lease.LeaseTimeToLive:
        return this.timeToLive(LeaseTimeToLiveRequest.decode(request));
      case Lease.LeaseLeases:
        return this.list();
      default:
        throw new Error(`simulated: no ${path}`);
    }
  }

  keepAlive(request: Uint8Array): Uint8Array {
    const { id } = LeaseKeepAliveRequest.decode(request);
    const lease = this.leases.get(id);
    if (lease !== undefined && lease.expiresAt <= this.scheduler.now) this.end(id, "expired");
    const alive = this.leases.get(id);
    if (alive !== undefined) alive.expiresAt = this.scheduler.now + alive.ttl * 1_000;
    return LeaseKeepAliveResponse.encode({ header: this.header, id, ttl: alive?.ttl ?? 0 });
  }

  /** Serves one watch. Calls `push` with its frames in order. Returns a function that ends it. */
  watch(request: WatchCreateRequest, push: (frame: Uint8Array) => void): () => void {
    const begin = Buffer.from(request.key).toString("latin1");
    const rangeEnd = Buffer.from(request.rangeEnd).toString("latin1");
    const contains = (key: string) =>
      rangeEnd === "" ? key === begin : key >= begin && (rangeEnd === "\0" || key < rangeEnd);
    let open = true;
    let unlisten = () => {};
    const follow = (from: number) => {
      const { store } = this;
      unlisten = store.listen((change) => {
        if (change.revision >= from) this.send([change], request, contains, push, 0);
      });
    };
    push(WatchResponse.encode({ header: this.header, created: true }));
    const { startRevision } = request;
    if (startRevision === 0 || startRevision > this.store.revision) {
      follow(Math.max(startRevision, this.store.revision + 1));
    } else {
      this.scheduler.after(this.random.below(MAX_CATCH_UP_MS), () => {
        if (!open) return;
        const { compacted } = this.store;
        if (startRevision < compacted) {
          push(WatchResponse.encode({ header: this.header, canceled: true, compactRevision: compacted }));
          return;
        }
        const missed = this.store.changesFrom(startRevision);
        follow(this.store.revision + 1);
        this.send(missed, request, contains, push, this.dropsTombstones ? compacted : 0);
      });
    }
    return () => {
      open = false;
      unlisten();
    };
  }

  /** Compacts the shard, for a call or for its own auto-compaction. */
  compactAt(revision: number): void {
    if (revision <= this.store.compacted) return;
    this.store.compact(revision);
    if (this.dropsTombstones) this.silent.add(revision);
  }

  /** Returns to its state at `revision`, like a cluster restored from a backup. Its watches must have ended. */
  lose(revision: number): void {
    const { store } = this;
    const older = new SimEtcd();
    for (const change of store.changesFrom(0)) {
      if (change.revision <= revision) older.put(change.puts, change.deletes);
    }
    this.store = older;
    this.begin();
  }

  /** Becomes another cluster, without data. */
  exchange(): void {
    this.store = new SimEtcd();
    this.clusterId += 100n;
    this.begin();
  }

  private begin(): void {
    this.generation++;
    this.leases = new Map();
    this.attached = new Map();
    this.lists = [{ at: this.scheduler.now, ids: [] }];
  }

  private get header() {
    return { clusterId: this.clusterId, memberId: 1n, revision: this.store.revision, raftTerm: 1 };
  }

  private range({ key, revision }: RangeRequest): Uint8Array {
    if (revision > this.store.revision) throw etcd.futureRevision();
    if (revision > 0 && revision < this.store.compacted) throw etcd.compacted();
    const at = revision === 0 ? this.store.revision : revision;
    const found = this.store.get(Buffer.from(key).toString("latin1"), at);
    return RangeResponse.encode({ header: this.header, count: found === undefined ? 0 : 1 });
  }

  private put({ key, value, lease }: PutRequest): Uint8Array {
    if (lease !== 0n && !this.leases.has(lease)) throw etcd.leaseNotFound();
    const name = Buffer.from(key).toString("latin1");
    this.detach(name);
    if (lease !== 0n) {
      this.attached.set(name, lease);
      this.leases.get(lease)?.keys.add(name);
      this.versions.set(`${this.store.revision + 1} ${name}`, lease);
    }
    this.store.put([{ key: name, value }]);
    return PutResponse.encode({ header: this.header });
  }

  private compact(revision: number): Uint8Array {
    if (revision > this.store.revision) throw etcd.futureRevision();
    if (revision <= this.store.compacted) throw etcd.compacted();
    this.compactAt(revision);
    return CompactionResponse.encode({ header: this.header });
  }

  private grant({ id, ttl }: LeaseGrantRequest): Uint8Array {
    if (this.leases.has(id)) throw etcd.leaseExists();
    const granted = Math.max(2, ttl);
    const expiresAt = this.scheduler.now + granted * 1_000;
    this.leases.set(id, { ttl: granted, grantedAt: this.scheduler.now, expiresAt, keys: new Set() });
    this.listed();
    return LeaseGrantResponse.encode({ header: this.header, id, ttl: granted });
  }

  private revoke(id: bigint): Uint8Array {
    if (!this.leases.has(id)) throw etcd.leaseNotFound();
    this.end(id, "revoked");
    return LeaseRevokeResponse.encode({ header: this.header });
  }

  private timeToLive({ id, keys }: LeaseTimeToLiveRequest): Uint8Array {
    const lease = this.leases.get(id);
    if (lease === undefined) return LeaseTimeToLiveResponse.encode({ header: this.header, id, ttl: -1 });
    return LeaseTimeToLiveResponse.encode({
      header: this.header,
      id,
      ttl: Math.floor((lease.expiresAt - this.scheduler.now) / 1_000),
      grantedTtl: lease.ttl,
      keys: keys ? [...lease.keys].map((key) => Buffer.from(key, "latin1")) : [],
    });
  }

  /** Returns the list of some member, which may lag. */
  private list(): Uint8Array {
    const moment = this.scheduler.now - this.random.below(MAX_LIST_LAG_MS);
    const list = this.lists.findLast(({ at }) => at <= moment) ?? this.lists[0]!;
    return LeaseLeasesResponse.encode({ header: this.header, leases: [...list.ids] });
  }

  private listed(): void {
    this.lists.push({ at: this.scheduler.now, ids: [...this.leases.keys()] });
    if (this.lists.length > 64) this.lists.shift();
  }

  private detach(key: string): void {
    const lease = this.attached.get(key);
    if (lease === undefined) return;
    this.attached.delete(key);
    this.leases.get(lease)?.keys.delete(key);
  }

  /** Ends a lease and deletes its keys. */
  end(id: bigint, cause: Cause): void {
    const keys = this.keysOf(id);
    for (const key of keys) this.detach(key);
    this.leases.delete(id);
    this.listed();
    this.store.put([], keys);
    this.onLeaseEnd(id, cause, keys);
  }

  private expireLater(): void {
    this.scheduler.after(EXPIRY_INTERVAL_MS, () => {
      this.expireLater();
      if (this.scheduler.now < this.frozenUntil) return;
      for (const [id, lease] of this.leases)
        if (lease.expiresAt <= this.scheduler.now) this.end(id, "expired");
    });
  }

  /** Sends changes as one response, or as fragments of random size. Omits deletions at `silentAt`. */
  private send(
    changes: readonly HostChange[],
    request: WatchCreateRequest,
    contains: (key: string) => boolean,
    push: (frame: Uint8Array) => void,
    silentAt: number,
  ): void {
    const events = changes.flatMap((change) =>
      [
        ...change.puts.map(({ key }) => this.event(key, change.revision, request.prevKv)),
        ...(change.revision === silentAt ? [] : change.deletes).map((key) =>
          this.event(key, change.revision, request.prevKv),
        ),
      ].filter(({ key }) => contains(key)),
    );
    const { header } = this;
    for (let from = 0; from < events.length; ) {
      const size = request.fragment && this.random.chance(0.5) ? 1 + this.random.below(3) : events.length;
      const piece = events.slice(from, from + size).map(({ event }) => event);
      from += size;
      push(WatchResponse.encode({ header, events: piece, fragment: from < events.length }));
    }
  }

  private event(key: string, revision: number, withPrevious: boolean) {
    const name = Buffer.from(key, "latin1");
    const found = this.store.get(key, revision);
    const put = found !== undefined;
    const previous = this.store.get(key, revision - 1);
    const isThere = withPrevious && previous !== undefined && revision - 1 >= this.store.compacted;
    return {
      key,
      event: {
        type: put ? (0 as const) : (1 as const),
        kv: put
          ? {
              key: name,
              value: found.value,
              createRevision: found.createRevision,
              modRevision: revision,
              version: 1,
              lease: this.versions.get(`${revision} ${key}`) ?? 0n,
            }
          : { key: name, modRevision: revision },
        ...(isThere && {
          prevKv: {
            key: name,
            value: previous.value,
            createRevision: previous.createRevision,
            modRevision: previous.modRevision,
            version: 1,
          },
        }),
      },
    };
  }
}

/** The response to a call, or etcd's error. */
export function answerOf(shard: SimShard, path: string, request: Uint8Array): StatusError | Uint8Array {
  try {
    return shard.handle(path, request);
  } catch (reason) {
    if (reason instanceof StatusError) return reason;
    throw reason;
  }
}

export const NOTHING = EMPTY;
