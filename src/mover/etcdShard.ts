import type { Logger } from "../ops/log.js";
import { genDigits, genLimit, readGen } from "../reshard/gen.js";
import { UnsentError } from "../shard/errors.js";
import { describeShard } from "../shard/name.js";
import { renewOnce } from "../shard/renewOnce.js";
import type { Shard } from "../shard/shard.js";
import { Code, StatusError, withDetail } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { isTooLarge } from "../status/tooLarge.js";
import type { Runtime } from "../turn/runtime.js";
import { Feed } from "../watch/feed.js";
import { NO_KEY, TO_LAST_KEY } from "../wire/keyRange.js";
import {
  type Compare,
  CompareResult,
  CompareTarget,
  Event,
  type Init,
  type KeyValue,
  LeaseGrantRequest,
  LeaseRevokeRequest,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  RangeRequest,
  RangeResponse,
  type RequestOp,
  TxnRequest,
  TxnResponse,
} from "../wire/messages.js";
import { KV, Lease } from "../wire/paths.js";
import { PROBE } from "../wire/probe.js";
import { EMPTY } from "../wire/reader.js";
import { peekRevision } from "../wire/rewrite.js";
import type { RawEvent } from "../wire/watch.js";
import {
  type Changes,
  MoverError,
  type MoverShard,
  type MoverTxn,
  type MoverTxnResult,
  type Page,
  type PageRequest,
  type Problem,
  type ShardChange,
} from "./shard.js";

/** A compare that never holds: the version of a key that is never written. */
const NEVER = { target: CompareTarget.VERSION, result: CompareResult.GREATER, key: NO_KEY, version: 0 };
const READ = { idempotent: true } as const;
const WRITE = { idempotent: false } as const;

export interface EtcdShardOptions {
  readonly shard: Shard;
  /** The key whose value begins with gen: the store's mark. */
  readonly genKey: Uint8Array;
  readonly runtime: Runtime;
  readonly log: Pick<Logger, "info" | "warn">;
}

/** A real shard for the mover, with the proxy's own credentials. */
export class EtcdMoverShard implements MoverShard {
  /** The mark as it was last seen, so that gen is mostly raised in one round trip. */
  private mark: Pick<KeyValue, "value" | "modRevision"> | undefined;

  constructor(private readonly options: EtcdShardOptions) {}

  get name(): string {
    return this.options.shard.name;
  }

  async range({ from, to, limit, revision = 0, keysOnly = false }: PageRequest): Promise<Page> {
    if (from === null) return { kvs: [], more: false, revision: await this.revision() };
    const request = RangeRequest.encode({
      key: from,
      rangeEnd: to ?? TO_LAST_KEY,
      limit,
      revision,
      keysOnly,
    });
    const { header, kvs, more } = RangeResponse.decode(await this.call(KV.Range, request, READ));
    return { kvs, more, revision: header?.revision ?? 0 };
  }

  async txn({ gen, ops }: MoverTxn): Promise<MoverTxnResult> {
    const compare = gen === undefined ? [] : this.genIs(gen);
    const success = ops.map(
      (op): Init<RequestOp> =>
        op.kind === "put"
          ? { kind: "put", request: { key: op.key, value: op.value, lease: op.lease } }
          : { kind: "deleteRange", request: { key: op.key, rangeEnd: op.end ?? EMPTY } },
    );
    const { header, succeeded, responses } = await this.transact({ compare, success });
    const changed = responses.some(
      (each) => each.kind === "put" || (each.kind === "deleteRange" && each.response.deleted > 0),
    );
    return { succeeded, changed, revision: header?.revision ?? 0 };
  }

  async revision(): Promise<number> {
    return peekRevision(await this.call(KV.Range, PROBE, READ));
  }

  changes(from: number): Changes {
    return new FeedChanges(this.options, from);
  }

  async raiseGen(position: number): Promise<number | undefined> {
    const { genKey } = this.options;
    const read = { kind: "range", request: { key: genKey } } as const;
    for (let mark = this.mark; ; ) {
      if (mark !== undefined) {
        const gen = readGen(mark.value);
        if (gen > position) return undefined;
        if (gen === position) return mark.modRevision;
      }
      const { modRevision = 0, value = EMPTY } = mark ?? {};
      const digits = Buffer.from(genDigits(position));
      const raised = Buffer.concat([digits, value.subarray(digits.length)]);
      const unchanged = { target: CompareTarget.MOD, result: CompareResult.EQUAL, key: genKey, modRevision };
      // No compare holds before the mark is known.
      const compare = mark === undefined ? [NEVER] : [unchanged];
      try {
        const success = [{ kind: "put", request: { key: genKey, value: raised } }] as const;
        const { header, succeeded, responses } = await this.transact({ compare, success, failure: [read] });
        if (succeeded) {
          mark = { value: raised, modRevision: header?.revision ?? 0 };
        } else {
          const [response] = responses;
          [mark] = response?.kind === "range" ? response.response.kvs : [];
          if (mark === undefined) throw this.unmarked();
        }
        this.mark = mark;
      } catch (error) {
        // The next round finds out.
        if (!(error instanceof MoverError) || error.problem !== "unknown outcome") throw error;
        mark = undefined;
      }
    }
  }

  async checkSpace(): Promise<void> {
    // etcd refuses a put for want of space also where it would not come about.
    const put = { kind: "put", request: { key: this.options.genKey } } as const;
    await this.transact({ compare: [NEVER], success: [put] });
  }

  private unmarked(): StatusError {
    return new StatusError(
      Code.DATA_LOSS,
      `${describeShard(this.options.shard)} has lost its mark of the store`,
    );
  }

  async leaseTtl(lease: bigint): Promise<number | undefined> {
    const request = LeaseTimeToLiveRequest.encode({ id: lease });
    const response = LeaseTimeToLiveResponse.decode(await this.call(Lease.LeaseTimeToLive, request, READ));
    // A missing lease has a granted TTL of 0.
    return response.grantedTtl > 0 ? response.grantedTtl : undefined;
  }

  async grant(lease: bigint, ttl: number): Promise<void> {
    const request = LeaseGrantRequest.encode({ id: lease, ttl });
    for (;;) {
      try {
        await this.call(Lease.LeaseGrant, request, READ);
        return;
      } catch (error) {
        if (!isCausedBy(error, etcd.leaseExists)) throw error;
      }
      // It may be left from before a plan removed the shard, and nobody has renewed it since. Without this, it would end before
      // its lease is renewed next, and take the copies along.
      if (await this.renew(lease)) return;
    }
  }

  private async renew(lease: bigint): Promise<boolean> {
    const { shard, runtime } = this.options;
    try {
      return await renewOnce(shard, lease, runtime);
    } catch (error) {
      throw moverError(shard, error, true);
    }
  }

  async endPart(lease: bigint): Promise<void> {
    try {
      await this.call(Lease.LeaseRevoke, LeaseRevokeRequest.encode({ id: lease }), READ);
    } catch (error) {
      if (!isCausedBy(error, etcd.leaseNotFound)) throw error;
    }
  }

  /** Compares that gen is exactly `position`, with any text after its digits. */
  private genIs(position: number): Init<Compare>[] {
    const { genKey: key } = this.options;
    const target = CompareTarget.VALUE;
    return [
      { target, result: CompareResult.GREATER, key, value: Buffer.from(genDigits(position)) },
      { target, result: CompareResult.LESS, key, value: Buffer.from(genLimit(position)) },
    ];
  }

  private async transact(txn: Init<TxnRequest>): Promise<TxnResponse> {
    return TxnResponse.decode(await this.call(KV.Txn, TxnRequest.encode(txn), WRITE));
  }

  private async call(
    path: string,
    request: Uint8Array,
    options: { readonly idempotent: boolean },
  ): Promise<Uint8Array> {
    const { shard } = this.options;
    try {
      return await shard.call(path, request, options);
    } catch (error) {
      throw moverError(shard, error, options.idempotent);
    }
  }
}

/** Converts a shard's error to one that the mover understands, if there is one. */
function moverError(shard: Shard, reason: unknown, idempotent: boolean): Error {
  const error = StatusError.from(reason);
  const problem = problemOf(error, idempotent);
  if (problem === undefined) return error;
  const text = withDetail(error);
  // The shard's own errors do not name it.
  const name = describeShard(shard);
  return new MoverError(problem, text.includes(name) ? text : `${name}: ${text}`, { cause: error });
}

function problemOf(error: StatusError, idempotent: boolean): Problem | undefined {
  if (etcd.compacted.is(error)) return "compacted";
  if (etcd.leaseNotFound.is(error)) return "lease not found";
  if (etcd.noSpace.is(error)) return "no space";
  if (etcd.tooManyOps.is(error) || isTooLarge(error)) return "too large";
  if (error.code !== Code.UNAVAILABLE && error.code !== Code.DEADLINE_EXCEEDED) return undefined;
  return idempotent || error instanceof UnsentError ? "unreachable" : "unknown outcome";
}

const isCausedBy = (error: unknown, known: { is(reason: unknown): boolean }): boolean =>
  known.is(error) || (error instanceof MoverError && known.is(error.cause));

/** How long a feed may have no watch, or be silent although changes are due, in milliseconds. */
const UNREACHABLE_MS = 5_000;
const SILENT_MS = 2_000;
const CHECK_MS = 500;
/** Most bytes of changes that `next` returns, unless a single revision has more. */
const BATCH_BYTES = 4 << 20;

/** The changes of a real shard. The watch stays open between calls, because etcd takes 100 ms to serve one from the past. */
class FeedChanges implements Changes {
  private readonly feed: Feed;
  /** All changes up to this shard revision were returned. */
  private taken: number;
  private compacted = 0;
  private isClosed = false;
  private wake = () => {};

  constructor(
    private readonly options: EtcdShardOptions,
    from: number,
  ) {
    const { shard, runtime, log } = options;
    this.taken = from - 1;
    this.feed = new Feed({
      shard,
      from,
      fromCompacted: false,
      prevKv: false,
      log,
      runtime,
      stats: { events: 0, opened: 0 },
      arrived: () => this.wake(),
      lost: (compacted) => {
        this.compacted = compacted;
        this.wake();
      },
    });
  }

  async next(until: number): Promise<readonly ShardChange[]> {
    const since = this.options.runtime.now();
    for (;;) {
      const changes = this.take(until);
      if (changes.length > 0 || this.taken >= until) return changes;
      if (this.compacted > 0)
        throw this.error("compacted", `revisions below ${this.compacted} are compacted`);
      if (this.isClosed) throw this.error("unreachable", "closed");
      if (this.feed.broken > UNREACHABLE_MS) throw this.error("unreachable", "watches cannot be opened");
      // Without changes, a watch is silent. Only a watch that owes changes may be dead.
      const waited = this.options.runtime.now() - since;
      if (Math.min(waited, this.feed.silence) > SILENT_MS) this.feed.reopen();
      await this.news();
    }
  }

  close(): void {
    this.isClosed = true;
    this.feed.close();
    this.wake();
  }

  private take(until: number): readonly ShardChange[] {
    const changes: ShardChange[] = [];
    const last = Math.min(until, this.feed.reached);
    for (let bytes = 0; this.taken < last && bytes < BATCH_BYTES; ) {
      this.taken++;
      const events = this.feed.take(this.taken);
      if (events.length === 0) continue;
      changes.push({ revision: this.taken, kvs: events.map(keyValueOf) });
      for (const { raw } of events) bytes += raw.length;
    }
    return changes;
  }

  /** Resolves when changes have arrived, or after a while. */
  private news(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.runtime.timer(CHECK_MS, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }

  private error(problem: Problem, text: string): MoverError {
    return new MoverError(problem, `${describeShard(this.options.shard)}: ${text}`);
  }
}

function keyValueOf({ key, modRevision, raw }: RawEvent): KeyValue {
  const { kv } = Event.decode(raw);
  return kv ?? { key, modRevision, createRevision: 0, version: 0, value: EMPTY, lease: 0n };
}
