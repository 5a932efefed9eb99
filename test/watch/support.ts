import assert from "node:assert/strict";
import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { type Proxy as Braid, startProxy } from "../../src/app/proxy.js";
import { parseConfig } from "../../src/config/load.js";
import type { Config } from "../../src/config/types.js";
import { createLog } from "../../src/ops/log.js";
import {
  type Codec,
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  type Event,
  type Init,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  TxnRequest,
  TxnResponse,
  type WatchCreateRequest,
  WatchRequest,
  WatchResponse,
} from "../../src/wire/messages.js";
import { KV, Lease, Watch } from "../../src/wire/paths.js";

/** How long a test waits for a frame. Long, because all tests share two cores. */
const FRAME_TIMEOUT_MS = 60_000;

export const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
export const text = (value: Uint8Array): string => Buffer.from(value).toString("latin1");

/** The range end of all keys. */
export const NO_END = Buffer.of(0);
/** The range end of all keys with a prefix. */
export const prefixEnd = (prefix: string): Buffer => {
  const end = bytes(prefix);
  end[end.length - 1] += 1;
  return end;
};
export const EVERYTHING = { key: NO_END, rangeEnd: NO_END };

type Endpoints = readonly { readonly endpoint: string }[];
type Settings = Readonly<Record<string, unknown>>;

/** A proxy in this process. Keys that begin with "a", "b", "c" are on the first, second, third shard. */
export function openProxy(shards: Endpoints, settings: Settings = {}): Promise<Braid> {
  return startProxy(configOf(shards, settings), createLog("silent"));
}

export function configOf(shards: Endpoints, settings: Settings = {}): Config {
  const rules = shards.map((_, i) => ({ prefix: "abc"[i], segments: 0, shard: `shard${i}` }));
  const content = JSON.stringify({
    listen: ["127.0.0.1:0"],
    shards: shards.map((shard, i) => ({ name: `shard${i}`, endpoints: [shard.endpoint] })),
    routing: { rules },
    ...settings,
  });
  return parseConfig(content, "test");
}

type Request<M> = M extends Codec<infer T> ? Init<T> : never;

/** A client of an etcd or a proxy. */
export class EtcdClient {
  private readonly client: Client;

  constructor(address: string) {
    this.client = new Client(address, credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  put = this.method(KV.Put, PutRequest, PutResponse);
  range = this.method(KV.Range, RangeRequest, RangeResponse);
  deleteRange = this.method(KV.DeleteRange, DeleteRangeRequest, DeleteRangeResponse);
  txn = this.method(KV.Txn, TxnRequest, TxnResponse);
  compact = this.method(KV.Compact, CompactionRequest, CompactionResponse);
  grant = this.method(Lease.LeaseGrant, LeaseGrantRequest, LeaseGrantResponse);
  revoke = this.method(Lease.LeaseRevoke, LeaseRevokeRequest, LeaseRevokeResponse);

  /** Puts text. Resolves to the revision. */
  async set(key: string, value: string | Uint8Array): Promise<number> {
    const { header } = await this.put({
      key: bytes(key),
      value: typeof value === "string" ? bytes(value) : value,
    });
    return header!.revision;
  }

  /** Deletes a key. Resolves to the revision. */
  async delete(key: string): Promise<number> {
    return (await this.deleteRange({ key: bytes(key) })).header!.revision;
  }

  /** `headers` are sent as metadata. */
  watch(headers: Readonly<Record<string, string>> = {}): WatchStream {
    const metadata = Metadata.fromHttp2Headers(headers);
    return new WatchStream(this.client.makeBidiStreamRequest(Watch.Watch, same, same, metadata));
  }

  close(): void {
    this.client.close();
  }

  private method<I, O>(path: string, input: Codec<I>, output: Codec<O>) {
    return (request: Request<Codec<I>>, headers: Readonly<Record<string, string>> = {}): Promise<O> =>
      new Promise((resolve, reject) => {
        this.client.makeUnaryRequest(
          path,
          same,
          same,
          toBuffer(input.encode(request)),
          Metadata.fromHttp2Headers(headers),
          (error: ServiceError | null, response?: Buffer) => {
            if (error) reject(error);
            else resolve(output.decode(response!));
          },
        );
      });
  }
}

const same = (value: Buffer): Buffer => value;
const toBuffer = (value: Uint8Array): Buffer => Buffer.from(value.buffer, value.byteOffset, value.byteLength);

/** One event as tests compare it: `revision +key=value` or `revision -key`. */
export function show({ type, kv }: Event): string {
  return `${kv!.modRevision} ${type === 0 ? `+${text(kv!.key)}=${text(kv!.value)}` : `-${text(kv!.key)}`}`;
}

/** Events as revision and key, for events with large values. */
export const keysOf = (events: readonly Event[]): string[] =>
  events.map(({ kv }) => `${kv!.modRevision} ${text(kv!.key)}`);

/** One watch stream, with all frames that it has received. */
export class WatchStream {
  /** All frames, in order. */
  readonly frames: WatchResponse[] = [];
  error: ServiceError | undefined;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly stream: ClientDuplexStream<Buffer, Buffer>) {
    stream.on("data", (message: Buffer) => {
      this.frames.push(WatchResponse.decode(message));
      for (const check of [...this.waiting]) check();
    });
    stream.on("error", (error: ServiceError) => {
      this.error = error;
      for (const check of [...this.waiting]) check();
    });
  }

  send(request: Request<typeof WatchRequest>): void {
    this.stream.write(toBuffer(WatchRequest.encode(request)));
  }

  /** Creates a watch. Resolves to its `created` frame. */
  async create(request: Partial<WatchCreateRequest>): Promise<WatchResponse> {
    const before = this.frames.filter(({ created }) => created).length;
    this.send({ kind: "create", request });
    const created = () => this.frames.filter((frame) => frame.created)[before];
    await this.until("created", () => created() !== undefined);
    return created();
  }

  /** Requests progress. Resolves to its revision. */
  async progress(): Promise<number> {
    const asked = this.frames.length;
    this.send({ kind: "progress" });
    const answer = () => this.frames.slice(asked).find(({ watchId, created }) => watchId === -1 && !created);
    await this.until("progress", () => answer() !== undefined);
    return answer()!.header!.revision;
  }

  /** Returns all events of a watch so far. */
  eventsOf(id: number): Event[] {
    return this.frames.flatMap(({ watchId, events }) => (watchId === id ? events : []));
  }

  shown(id: number): string[] {
    return this.eventsOf(id).map(show);
  }

  /** Resolves once a watch has got an event at or after `revision`. */
  async reaches(id: number, revision: number): Promise<void> {
    await this.until(`revision ${revision} of watch ${id}`, () =>
      this.frames.some(
        ({ watchId, events }) => watchId === id && events.some(({ kv }) => kv!.modRevision >= revision),
      ),
    );
  }

  /** Resolves once `condition` holds. It is checked after each frame. */
  async until(what: string, condition: () => boolean): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer);
        this.waiting.delete(check);
        settle();
      };
      const check = () => {
        if (condition()) end(resolve);
        else if (this.error !== undefined) end(() => reject(this.error));
      };
      const timer = setTimeout(
        () =>
          end(() =>
            reject(new Error(`no ${what} within ${FRAME_TIMEOUT_MS} ms; ${this.frames.length} frames`)),
          ),
        FRAME_TIMEOUT_MS,
      );
      this.waiting.add(check);
    });
  }

  /** Stops reading frames. */
  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  close(): void {
    this.stream.cancel();
  }

  /**
   * Checks what holds for every watch. Revisions ascend. A revision is in one frame, or in marked fragments. A header is a
   * watermark: not below the frame's own events, and nothing at or below it arrives later.
   */
  check(): void {
    const state = new Map<number, { last: number; watermark: number; fragment: boolean }>();
    for (const { watchId, header, events, created, canceled, fragment } of this.frames) {
      if (canceled || watchId === -1) continue;
      const before = state.get(watchId) ?? { last: 0, watermark: 0, fragment: false };
      const { revision } = header!;
      if (created || events.length === 0) {
        assert.ok(revision >= before.watermark, `header ${revision} after ${before.watermark}`);
      } else if (before.fragment) {
        assert.equal(revision, before.watermark, "fragments share their header");
      } else {
        assert.ok(revision > before.watermark, `header ${revision} after ${before.watermark}`);
        assert.ok(events[0].kv!.modRevision > before.watermark, "an event below the watermark");
        assert.ok(events[0].kv!.modRevision > before.last, "a revision in two frames");
      }
      let { last } = before;
      for (const { kv } of events) {
        assert.ok(kv!.modRevision >= last, `${kv!.modRevision} after ${last}`);
        last = kv!.modRevision;
      }
      assert.ok(last <= revision, `event ${last} above header ${revision}`);
      state.set(watchId, { last, watermark: revision, fragment });
    }
  }
}
