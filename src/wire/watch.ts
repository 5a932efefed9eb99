import type { EventType } from "./generated/enums.js";
import * as tags from "./generated/tags.js";
import { type Patches, patches, patchKeyValue, type ToRevision } from "./patch.js";
import { EMPTY, Reader } from "./reader.js";
import type { Allocate } from "./rewrite.js";
import { int64Size, putInt64 } from "./varint.js";
import { type Writer, writer } from "./writer.js";

const {
  header: HEADER,
  watchId: WATCH_ID,
  created: CREATED,
  canceled: CANCELED,
  compactRevision: COMPACT_REVISION,
  cancelReason: CANCEL_REASON,
  fragment: FRAGMENT,
  events: EVENTS,
} = tags.WatchResponse;
const { type: TYPE, kv: KV, prevKv: PREV_KV } = tags.Event;
const { key: KEY, modRevision: MOD_REVISION } = tags.KeyValue;
const {
  clusterId: CLUSTER_ID,
  memberId: MEMBER_ID,
  revision: REVISION,
  raftTerm: RAFT_TERM,
} = tags.ResponseHeader;

/** A response of a shard's watch. Events are decoded as far as the choice of watchers needs. */
export interface ShardWatchResponse {
  watchId: number;
  created: boolean;
  canceled: boolean;
  fragment: boolean;
  compactRevision: number;
  cancelReason: string;
  events: RawEvent[];
}

/** An event as a shard sent it. Byte fields are views of the response. */
export interface RawEvent {
  type: EventType;
  key: Uint8Array;
  /** The shard revision of the event. */
  modRevision: number;
  /** The encoded Event. */
  raw: Uint8Array;
}

/** An event as clients get it, encoded once for all of its watchers. It does not keep the shard's response in memory. */
export interface EncodedEvent {
  readonly type: EventType;
  /** The `WatchResponse.events` field (tag, length, payload), with the previous key if the shard sent it. Never modify it. */
  readonly full: Uint8Array;
  /** `full` without the previous key. Encoded on first use, in memory from the same allocator. */
  readonly plain: Uint8Array;
  /** Approximate size of both in bytes. Does not depend on whether `plain` was used. */
  readonly bytes: number;
}

/** Decodes a shard's response. Throws INVALID_ARGUMENT when it is not a WatchResponse. */
export function decodeWatch(response: Uint8Array): ShardWatchResponse {
  const r = new Reader(response);
  const m: ShardWatchResponse = {
    watchId: 0,
    created: false,
    canceled: false,
    fragment: false,
    compactRevision: 0,
    cancelReason: "",
    events: [],
  };
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case HEADER:
        skipHeader(r);
        break;
      case WATCH_ID:
        m.watchId = r.int64();
        break;
      case CREATED:
        m.created = r.bool();
        break;
      case CANCELED:
        m.canceled = r.bool();
        break;
      case COMPACT_REVISION:
        m.compactRevision = r.int64();
        break;
      case CANCEL_REASON:
        m.cancelReason = r.text();
        break;
      case FRAGMENT:
        m.fragment = r.bool();
        break;
      case EVENTS:
        m.events.push(readRawEvent(r));
        break;
      default:
        r.skip(tag, 7, 11);
    }
  }
  return m;
}

/**
 * Returns the revision in the header of a shard's response with events, which none of the events exceeds; `Infinity` for
 * other responses. Throws INVALID_ARGUMENT for malformed fields, but reads only up to the first event.
 */
export function peekWatchRevision(response: Uint8Array): number {
  const r = new Reader(response);
  let revision = Number.POSITIVE_INFINITY;
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case HEADER: {
        const outer = r.enter();
        while (r.more()) {
          const inner = r.tag();
          if (inner === REVISION) revision = r.int64();
          else r.skip(inner, 0, 3);
        }
        r.limit = outer;
        break;
      }
      case WATCH_ID:
        r.int64();
        break;
      case EVENTS:
        return revision;
      default:
        return Number.POSITIVE_INFINITY;
    }
  }
  return Number.POSITIVE_INFINITY;
}

/**
 * Encodes an event for clients, in memory from `allocate`, with all revisions mapped. Throws INVALID_ARGUMENT when the event
 * is malformed.
 */
export function encodeEvent(
  event: RawEvent,
  map: ToRevision,
  allocate: Allocate = Buffer.allocUnsafe,
): EncodedEvent {
  const { raw } = event;
  const p = patches.reset();
  const r = new Reader(raw);
  let previous = 0;
  while (r.more()) {
    const tag = r.tag();
    const { start } = r;
    if (tag === KV || tag === PREV_KV) patchKeyValue(r, p, map);
    else if (tag === TYPE) r.int32();
    else r.skip(tag, 3);
    if (tag === PREV_KV) previous += r.pos - start;
  }
  const full = eventField(p, raw, 0, raw.length, allocate);
  return new SharedEvent(event.type, full, previous, allocate);
}

/**
 * Encodes a WatchResponse without its events, whose fields follow it. `header` is a header field as `encodeHeader`
 * (rewrite.ts) makes it.
 */
export function encodeWatchHead(header: Uint8Array, watchId: number, flags?: WatchFlags): Uint8Array {
  return writer.encode(writeWatchHead, { header, watchId, flags });
}

/** Fields of `WatchResponse` that most responses do not have. */
export interface WatchFlags {
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: number;
  readonly cancelReason?: string;
  readonly fragment?: boolean;
}

class SharedEvent implements EncodedEvent {
  /** `plain`, once it is encoded. */
  private stripped: Uint8Array | undefined;

  constructor(
    readonly type: EventType,
    readonly full: Uint8Array,
    /** Bytes of the previous key before revisions were mapped; 0 without one. */
    private readonly previous: number,
    private readonly allocate: Allocate,
  ) {
    this.stripped = previous === 0 ? full : undefined;
  }

  get plain(): Uint8Array {
    this.stripped ??= withoutPrevKv(this.full, this.allocate);
    return this.stripped;
  }

  get bytes(): number {
    const { full, previous } = this;
    return previous === 0 ? full.length : Math.max(full.length, 2 * full.length - previous);
  }
}

/** Returns the event field `full` without its previous key. */
function withoutPrevKv(full: Uint8Array, allocate: Allocate): Uint8Array {
  const p = patches.reset();
  const r = new Reader(full);
  r.tag();
  r.enter();
  const from = r.pos;
  while (r.more()) {
    const tag = r.tag();
    const start = r.start;
    r.skip(tag);
    if (tag === PREV_KV) p.drop(start, r.pos);
  }
  return eventField(p, full, from, full.length, allocate);
}

/** Encodes an event field whose payload is the bytes between `from` and `to` of `source`, patched. */
function eventField(
  p: Patches,
  source: Uint8Array,
  from: number,
  to: number,
  allocate: Allocate,
): Uint8Array {
  const size = p.size(from, to);
  const field = allocate(1 + int64Size(size) + size);
  field[0] = EVENTS;
  p.apply(source, from, to, field, putInt64(field, 1, size));
  return field;
}

/** Skips a header, as strictly as decoding it. */
function skipHeader(r: Reader): void {
  const outer = r.enter();
  while (r.more()) {
    const tag = r.tag();
    if (tag === CLUSTER_ID || tag === MEMBER_ID) r.skip(tag);
    else if (tag === REVISION) r.int64();
    else if (tag === RAFT_TERM) r.uint64();
    else r.skip(tag, 4);
  }
  r.limit = outer;
}

/** Reads an Event field. `r` is after its tag. */
function readRawEvent(r: Reader): RawEvent {
  const outer = r.enter();
  const m: RawEvent = { type: 0, key: EMPTY, modRevision: 0, raw: r.bytes.subarray(r.pos, r.limit) };
  while (r.more()) {
    const tag = r.tag();
    if (tag === TYPE) m.type = r.int32() as EventType;
    else if (tag === KV) readRawKeyValue(r, m);
    else r.skip(tag, 2);
  }
  r.limit = outer;
  return m;
}

function readRawKeyValue(r: Reader, m: RawEvent): void {
  const outer = r.enter();
  while (r.more()) {
    const tag = r.tag();
    if (tag === KEY) m.key = r.data();
    else if (tag === MOD_REVISION) m.modRevision = r.int64();
    else r.skip(tag, 1, 3);
  }
  r.limit = outer;
}

function writeWatchHead(
  w: Writer,
  m: { header: Uint8Array; watchId: number; flags: WatchFlags | undefined },
): void {
  const { flags } = m;
  if (flags !== undefined) {
    w.bool(FRAGMENT, flags.fragment);
    w.text(CANCEL_REASON, flags.cancelReason);
    w.int64(COMPACT_REVISION, flags.compactRevision);
    w.bool(CANCELED, flags.canceled);
    w.bool(CREATED, flags.created);
  }
  w.int64(WATCH_ID, m.watchId);
  w.raw(m.header);
}
