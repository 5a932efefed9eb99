import type { ShardClient } from "../shard/client.js";
import { describeShard } from "../shard/name.js";
import type { CallOptions, Shard } from "../shard/shard.js";
import { Code, StatusError } from "../status/error.js";
import { beforeDeparture } from "../turn/departures.js";
import {
  EventType,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
  WatchRequest,
  WatchResponse,
} from "../wire/messages.js";
import { KV, Watch } from "../wire/paths.js";
import { peekWatchRevision } from "../wire/watch.js";
import { AppendEncoder, decodeAppended } from "./append.js";
import type {
  Appended,
  Committed,
  HostCarried,
  HostChange,
  HostKey,
  HostWatchEvents,
  Loaded,
  LogHost,
  LogTail,
} from "./host.js";
import { BASE_KEY, LOG_PREFIX, LOG_PREFIX_END, TAIL_KEY } from "./keys.js";

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");

const TAIL = latin1(TAIL_KEY);
const READ_TAIL = RangeRequest.encode({ key: TAIL_KEY, keysOnly: true });
const READ_ALL = RangeRequest.encode({ key: LOG_PREFIX, rangeEnd: LOG_PREFIX_END });

/** The timeline log in a real etcd. Calls have the deadlines of the shard's client. */
export class EtcdHost implements LogHost {
  private readonly appends = new AppendEncoder();
  /** Appends in flight. */
  private appending = 0;

  constructor(private readonly etcd: Shard & Pick<ShardClient, "isConnected">) {}

  get label(): string {
    return this.etcd.index < 0 ? "it" : describeShard(this.etcd);
  }

  get isConnected(): boolean {
    return this.etcd.isConnected;
  }

  async load(): Promise<Loaded> {
    const answer = RangeResponse.decode(await this.etcd.call(KV.Range, READ_ALL, { idempotent: true }));
    const { revision, raftTerm } = headerOf(answer);
    const keys = answer.kvs.map(({ key, value, createRevision, modRevision }) => ({
      key: latin1(key),
      value,
      createRevision,
      modRevision,
    }));
    return { revision, raftTerm, keys };
  }

  async tail(): Promise<LogTail> {
    const answer = RangeResponse.decode(await this.etcd.call(KV.Range, READ_TAIL, { idempotent: true }));
    const { revision, raftTerm } = headerOf(answer);
    return { end: answer.kvs[0]?.modRevision ?? 0, revision, raftTerm };
  }

  async commit(
    guard: number,
    puts: readonly { key: string; value: Uint8Array }[],
    deletes: readonly { key: Uint8Array; end: Uint8Array }[],
    unchanged?: Pick<HostKey, "key" | "modRevision">,
  ): Promise<Committed> {
    const guards = [{ key: BASE_KEY, modRevision: guard }];
    if (unchanged !== undefined)
      guards.push({ key: Buffer.from(unchanged.key, "latin1"), modRevision: unchanged.modRevision });
    const request = TxnRequest.encode({
      compare: guards.map(({ key, modRevision }) => ({ target: 2, result: 0, key, modRevision })),
      success: [
        ...puts.map(({ key, value }) => ({
          kind: "put" as const,
          request: { key: Buffer.from(key, "latin1"), value, prevKv: key === TAIL },
        })),
        ...deletes.map(({ key, end }) => ({
          kind: "deleteRange" as const,
          request: { key, rangeEnd: end },
        })),
      ],
    });
    const answer = TxnResponse.decode(await this.etcd.call(KV.Txn, request, { idempotent: false }));
    const { revision, raftTerm } = headerOf(answer);
    const tail = answer.responses[puts.findIndex(({ key }) => key === TAIL)];
    const previous = tail?.kind === "put" ? (tail.response.prevKv?.modRevision ?? 0) : 0;
    return { committed: answer.succeeded, revision, previous, raftTerm };
  }

  append(guard: number, key: string, entry: string, done: Appended): void {
    this.appending++;
    this.etcd.unary(KV.Txn, this.appends.encode(guard, key, entry), APPEND, (error, response) => {
      this.appending--;
      let result = NOTHING;
      let failure = error;
      try {
        if (error === undefined) result = decodeAppended(response);
        if (error === undefined && result.revision === 0) failure = headerless();
      } catch (reason) {
        failure = StatusError.from(reason);
      }
      done(failure, result);
    });
  }

  carry(guard: number, key: string, entry: string): HostCarried {
    this.appending++;
    return {
      fields: this.appends.encode(guard, key, entry),
      settle: (response) => {
        this.appending--;
        return response === undefined ? NOTHING : decodeAppended(response);
      },
    };
  }

  watch(revision: number, events: HostWatchEvents, known: () => number): () => void {
    let open = true;
    const close = (error: Error, compacted: boolean) => {
      if (!open) return;
      open = false;
      events.closed(error, compacted);
    };
    const take = (message: Uint8Array) => {
      if (!open || peekWatchRevision(message) <= known()) return;
      const response = WatchResponse.decode(message);
      if (response.canceled) {
        stream.cancel();
        const reason = response.cancelReason || "the timeline host canceled the watch of the log";
        close(new StatusError(Code.UNAVAILABLE, reason), response.compactRevision > 0);
        return;
      }
      const changes = groupByRevision(response);
      if (changes.length > 0) events.changes(changes);
    };
    let waiting: Uint8Array[] = [];
    const takeWaiting = () => {
      const messages = waiting;
      waiting = [];
      for (const message of messages) take(message);
    };
    const stream = this.etcd.stream(Watch.Watch, {
      message: (message) => {
        if (this.appending === 0 && waiting.length === 0) {
          take(message);
          return;
        }
        // Usually the event of an append in flight. Its response has the same news and arrives right after it.
        if (waiting.length === 0) beforeDeparture(takeWaiting);
        waiting.push(message);
      },
      closed: (error) => {
        takeWaiting();
        close(error, false);
      },
    });
    stream.send(
      WatchRequest.encode({
        kind: "create",
        request: { key: LOG_PREFIX, rangeEnd: LOG_PREFIX_END, startRevision: revision },
      }),
    );
    return () => {
      open = false;
      stream.cancel();
    };
  }
}

const APPEND: CallOptions = { idempotent: false, abandonSilent: true };
const NOTHING: Committed = { committed: false, revision: 0, previous: 0, raftTerm: 0 };

function headerOf(answer: { header?: { revision: number; raftTerm: number } }): {
  revision: number;
  raftTerm: number;
} {
  if (answer.header === undefined) throw headerless();
  return answer.header;
}

const headerless = () =>
  new StatusError(Code.INTERNAL, "etcd-braid: the timeline host sent a response without a header");

/** Groups a response's events, which are in revision order, into one change per revision. */
function groupByRevision({ events }: WatchResponse): HostChange[] {
  const changes: { revision: number; puts: { key: string; value: Uint8Array }[]; deletes: string[] }[] = [];
  for (const { type, kv } of events) {
    if (kv === undefined) continue;
    let change = changes.at(-1);
    if (change === undefined || change.revision !== kv.modRevision) {
      change = { revision: kv.modRevision, puts: [], deletes: [] };
      changes.push(change);
    }
    if (type === EventType.DELETE) change.deletes.push(latin1(kv.key));
    else change.puts.push({ key: latin1(kv.key), value: kv.value });
  }
  return changes;
}
