import type { Router } from "../../src/routing/router.js";
import type { Random } from "../kv/model.js";
import type { Message } from "./client.js";
import { type Extent, holdsKey, prefixEnd, shardOf, shardsOf } from "./extents.js";
import type { Op } from "./ops.js";

/** What the next operation may refer to; kept by whoever runs the operations. */
export interface World {
  readonly head: number;
  /** Newest compacted revision, 0 before the first compaction. */
  readonly compacted: number;
  /** Keys that were written lately, and the revisions of the writes. */
  readonly written: readonly { readonly key: string; readonly revision: number }[];
  /** Revisions (from, to] in which the two stores went apart on purpose; nothing may refer to them. */
  readonly apart: readonly { readonly from: number; readonly to: number }[];
  /** Proxies of the store. */
  readonly proxies: number;
  /** Leases that live. */
  readonly leases: readonly string[];
  /** Watchers that live, at most one list per stream. */
  readonly watchers: readonly (readonly string[])[];
}

const KEYS = [
  "/a/x",
  "/a/x/",
  "/a/x/1",
  "/a/x/10",
  "/a/x/2",
  "/a/y/1",
  "/a/y/2",
  "/a",
  "/b/x/1",
  "/b/x/2",
  "/c/x/1",
  "/registry/pods/ns/n",
  "/registry/pods/ns/m",
  "/registry/leases/ns/n",
  "/registry/services/specs/n",
  "foo",
  "foo/bar",
  "foo/baz/1",
  "lock/694d",
  "mutex/694d",
  "k",
  "\x01",
  "\xff",
  "\xff\xff/1",
  "\xc3\x28/\x00\xff",
  "/z/\xff\xff/1",
  `/long/keys/${"k".repeat(600)}`,
];

const PREFIXES = [
  "/a/x",
  "/a/x/",
  "/a/",
  "/",
  "/registry/",
  "/registry/pods/",
  "foo",
  "foo/",
  "\xff",
  "lock/",
];
const EXPLICIT_LEASES = ["1", "2", "7", "1000", "123456789", "9223372036854775807", "-5"];
const SECONDS = ["600", "3600", "86400", "9000000000"];
const STREAMS = 3;
const WATCHERS_PER_STREAM = 4;

/** Draws operations: every method and field, with values that matter, also those that etcd refuses. */
export class Generator {
  constructor(
    private readonly random: Random,
    private readonly router: Router,
  ) {}

  next(world: World): Op {
    if (world.proxies > 1) {
      if (this.random.chance(0.03)) return { kind: "move", proxy: this.random.below(world.proxies) };
      if (this.random.chance(0.004)) return this.restart(world);
    }
    const choice = this.random.below(100);
    if (choice < 30) return unary("Put", this.put(world));
    if (choice < 52)
      return unary(
        "Range",
        this.range(world, () => this.extent()),
      );
    if (choice < 60)
      return unary(
        "DeleteRange",
        this.deleteRange(() => this.deletedExtent()),
      );
    if (choice < 78) return unary("Txn", this.txn(world));
    if (choice < 80) return unary("Compact", this.compact(world));
    if (choice < 89) return this.lease(world);
    return this.watch(world);
  }

  private restart(world: World): Op {
    const signal = this.random.pick(["SIGTERM", "SIGKILL"] as const);
    return { kind: "restart", proxy: this.random.below(world.proxies), signal };
  }

  private put(world: World, key = this.key()): Message {
    const { random } = this;
    const request: Message = { key: random.chance(0.01) ? "" : key };
    if (random.chance(0.9)) request.value = this.value();
    if (random.chance(0.3)) request.prev_kv = true;
    if (random.chance(0.06)) request.ignore_value = true;
    if (request.ignore_value && random.chance(0.8)) delete request.value;
    if (random.chance(0.2)) request.lease = this.leaseId(world);
    if (random.chance(0.06)) request.ignore_lease = true;
    if (request.ignore_lease && random.chance(0.8)) delete request.lease;
    return request;
  }

  private value(): string {
    const { random } = this;
    const length = random.pick([0, 1, 1, 1, 5, 5, 20]);
    if (random.chance(0.01)) return "v".repeat(50_000 + random.below(50_000));
    return Array.from({ length }, () => random.pick(["a", "b", "c", "\0", "\xff", "é"])).join("");
  }

  private key(): string {
    return this.random.pick(KEYS);
  }

  private keyOf(shard: number): string {
    return this.random.pick(KEYS.filter((key) => shardOf(this.router, key) === shard));
  }

  private extent(): Extent {
    const { random } = this;
    const choice = random.below(100);
    if (choice < 35) return { key: this.key(), end: "" };
    if (choice < 60) return prefix(random.pick(PREFIXES));
    if (choice < 65) return { key: "\0", end: "\0" };
    if (choice < 72) return { key: this.key(), end: "\0" };
    if (choice < 74) return { key: "", end: random.pick(["", "\0", "z"]) };
    if (choice < 76) return { key: "\0", end: random.pick(["", "\0\xff", "/b", "\x01", "\x02"]) };
    if (choice < 80) return prefix(this.key());
    return { key: this.key(), end: this.key() };
  }

  /** Not often large, so that keys live for a while. */
  private deletedExtent(): Extent {
    return this.random.chance(0.8) ? { key: this.key(), end: "" } : this.extent();
  }

  /** An extent all of whose keys are on one shard. */
  private extentOn(shard: number): Extent {
    for (let attempt = 0; attempt < 20; attempt++) {
      const extent = this.extent();
      const shards = shardsOf(this.router, extent);
      if (shards.length === 0 || (shards.length === 1 && shards[0] === shard)) return extent;
    }
    return { key: this.keyOf(shard), end: "" };
  }

  private range(world: World, extent: () => Extent): Message {
    const { random } = this;
    const request = withExtent(extent());
    if (random.chance(0.3)) request.limit = random.pick([1, 1, 2, 3, 5, 100, -1]);
    if (random.chance(0.3)) request.revision = this.revision(world);
    if (random.chance(0.4)) request.sort_order = random.pick(["ASCEND", "DESCEND"]);
    if (random.chance(0.4)) request.sort_target = random.pick(["VERSION", "CREATE", "MOD", "VALUE"]);
    if (random.chance(0.1)) request.serializable = true;
    if (random.chance(0.2)) request.keys_only = true;
    if (random.chance(0.1)) request.count_only = true;
    for (const bound of BOUNDS) if (random.chance(0.07)) request[bound] = this.revision(world);
    return request;
  }

  private revision(world: World): number {
    return common(this.anyRevision(world), world);
  }

  private anyRevision(world: World): number {
    const { random } = this;
    const choice = random.below(100);
    if (choice < 45) return Math.max(1, world.head - random.below(12));
    if (choice < 70 && world.written.length > 0) return random.pick(world.written).revision;
    if (choice < 76) return world.head;
    if (choice < 82) return world.head + 1 + random.below(3);
    if (choice < 90) return Math.max(0, world.compacted - 1 + random.below(3));
    if (choice < 94) return 1 + random.below(3);
    if (choice < 96) return 0;
    if (choice < 98) return -1 - random.below(3);
    return random.pick([1_000_000_000, Number.MAX_SAFE_INTEGER]);
  }

  private deleteRange(extent: () => Extent): Message {
    const drawn = extent();
    // A key of the reserved keyspace is not deleted but refused.
    const request = withExtent(drawn.key === "\0" && drawn.end === "" ? { key: this.key(), end: "" } : drawn);
    if (this.random.chance(0.4)) request.prev_kv = true;
    return request;
  }

  // --- transactions ------------------------------------------------------------------------------------

  private txn(world: World): Message {
    const { random } = this;
    const choice = random.below(100);
    if (choice < 75) {
      const shard = shardOf(this.router, this.key());
      return this.txnOver(
        world,
        { key: () => this.keyOf(shard), extent: () => this.extentOn(shard) },
        0,
        true,
      );
    }
    const anywhere = { key: () => this.key(), extent: () => this.extent() };
    return this.txnOver(world, anywhere, 0, choice >= 92);
  }

  private txnOver(world: World, where: Where, depth: number, writes: boolean): Message {
    const { random } = this;
    const many = (most: number, make: () => Message) => Array.from({ length: random.below(most + 1) }, make);
    const request = {
      compare: many(2, () => this.compare(world, where)),
      success: many(3, () => this.txnOp(world, where, depth, writes)),
      failure: many(2, () => this.txnOp(world, where, depth, writes)),
    };
    if (random.chance(0.01)) {
      const key = where.key();
      const length = random.pick([127, 128, 129]);
      request.success = Array.from({ length }, () => ({ request_range: { key } }));
    }
    // A put that keeps what such a deletion has deleted before crashes the etcd, but not the store, which refuses it.
    if (depth === 0 && JSON.stringify(request).includes(TO_LAST_KEY)) keepNothing(request);
    return request;
  }

  private txnOp(world: World, where: Where, depth: number, writes: boolean): Message {
    const { random } = this;
    const choice = random.below(100);
    if (depth < 2 && choice < 12) return { request_txn: this.txnOver(world, where, depth + 1, writes) };
    if (choice < 13) return {};
    if (!writes || choice < 45) return { request_range: this.range(world, where.extent) };
    if (choice < 80) return { request_put: this.put(world, where.key()) };
    const single = () => ({ key: where.key(), end: "" });
    return { request_delete_range: this.deleteRange(random.chance(0.6) ? single : where.extent) };
  }

  private compare(world: World, where: Where): Message {
    const { random } = this;
    const target = random.pick(["VERSION", "CREATE", "MOD", "VALUE", "LEASE"]);
    const extent = random.chance(0.75) ? { key: where.key(), end: "" } : where.extent();
    const compare: Message = { ...withExtent(extent), target };
    compare.result = random.pick(["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]);
    if (random.chance(0.04)) return compare;
    switch (random.chance(0.03) ? "VERSION" : target) {
      case "VERSION":
        compare.version = random.pick([0, 0, 1, 2, 3, -1]);
        break;
      case "CREATE":
        compare.create_revision = this.comparedRevision(world, extent);
        break;
      case "MOD":
        compare.mod_revision = this.comparedRevision(world, extent);
        break;
      case "VALUE":
        compare.value = this.value();
        break;
      default:
        compare.lease = random.pick(["0", "0", ...EXPLICIT_LEASES]);
    }
    return compare;
  }

  /** Often the one that the key has. */
  private comparedRevision(world: World, extent: Extent): number {
    const own = world.written.filter(({ key }) => holdsKey(extent, key));
    return own.length > 0 && this.random.chance(0.5) ? own[own.length - 1].revision : this.revision(world);
  }

  // --- compaction, leases ------------------------------------------------------------------------------

  private compact(world: World): Message {
    const { random } = this;
    const oldest = Math.max(1, world.compacted);
    const revision = random.chance(0.6)
      ? oldest + random.below(Math.max(1, world.head - oldest))
      : random.pick([world.compacted, 1, world.head, world.head + 1, world.head - 1, -1, 1_000_000]);
    const request: Message = { revision: common(revision, world) };
    if (random.chance(0.3)) request.physical = true;
    // etcd lets the very first compaction be one at 0, which does nothing.
    if (request.revision === 0) request.revision = 1;
    return request;
  }

  private leaseId(world: World): string {
    const { random } = this;
    if (random.chance(0.03)) return "424242"; // never granted
    if (world.leases.length > 0 && random.chance(0.85)) return random.pick(world.leases);
    return random.pick(EXPLICIT_LEASES);
  }

  private lease(world: World): Op {
    const { random } = this;
    const choice = random.below(100);
    if (choice < (world.leases.length < 5 ? 45 : 15)) {
      const ttl = random.chance(0.9) ? random.pick(SECONDS) : "9000000001";
      return unary("LeaseGrant", { TTL: ttl, ID: random.chance(0.5) ? random.pick(EXPLICIT_LEASES) : "0" });
    }
    if (choice < 60) return unary("LeaseRevoke", { ID: this.leaseId(world) });
    if (choice < 75) return unary("LeaseTimeToLive", { ID: this.leaseId(world), keys: random.chance(0.7) });
    if (choice < 85) return unary("LeaseLeases", {});
    const ids = Array.from({ length: 1 + random.below(2) }, () => this.leaseId(world));
    return { kind: "keepAlive", ids: random.chance(0.1) ? ["0"] : ids };
  }

  // --- watches -----------------------------------------------------------------------------------------

  private watch(world: World): Op {
    const { random } = this;
    const stream = random.below(STREAMS);
    const living = world.watchers[stream] ?? [];
    const choice = random.below(100);
    if (choice < 20 && living.length > 0) return { kind: "progress", stream };
    if (choice < 30 || living.length >= WATCHERS_PER_STREAM) {
      const unknown = living.length === 0 || random.chance(0.1);
      return { kind: "cancel", stream, watchId: unknown ? "77" : random.pick(living) };
    }
    const request = withExtent(this.extent());
    if (random.chance(0.7)) request.start_revision = this.revision(world);
    // Newer etcds refuse what is before all revisions, and so does the store; older ones do not.
    if (Number(request.start_revision) < 0) request.start_revision = 1;
    if (random.chance(0.5)) request.prev_kv = true;
    if (random.chance(0.3)) request.filters = random.pick([["NOPUT"], ["NODELETE"], ["NOPUT", "NODELETE"]]);
    if (random.chance(0.2)) request.fragment = true;
    if (random.chance(0.2)) request.progress_notify = true;
    if (random.chance(0.3)) request.watch_id = random.pick([1, 2, 3, 5, 100]);
    return { kind: "watch", stream, request };
  }
}

const BOUNDS = ["min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"];

/** Where the keys of a transaction come from. */
interface Where {
  key(): string;
  extent(): Extent;
}

/** The revision, or the next one that both sides have. */
function common(revision: number, { apart }: World): number {
  return apart.find(({ from, to }) => from < revision && revision < to)?.to ?? revision;
}

/** A deletion, or a read, of all keys from one on, in the JSON of a request. */
const TO_LAST_KEY = JSON.stringify({ range_end: "\0" }).slice(1, -1);

/** Removes from all puts of a request that they keep the key's value or lease. */
function keepNothing(request: unknown): void {
  if (typeof request !== "object" || request === null) return;
  const fields = request as Message;
  delete fields.ignore_value;
  delete fields.ignore_lease;
  for (const each of Object.values(fields)) keepNothing(each);
}

function unary(method: Extract<Op, { kind: "unary" }>["method"], request: Message): Op {
  return { kind: "unary", method, request };
}

function prefix(key: string): Extent {
  return { key, end: prefixEnd(key) };
}

function withExtent({ key, end }: Extent): Message {
  return end === "" ? { key } : { key, range_end: end };
}
