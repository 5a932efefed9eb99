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

/** A response of a shard's watch, its events not decoded any further than a watcher needs to be chosen. */
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
  /** The shard's own revision. */
  modRevision: number;
  /** The Event message. */
  raw: Uint8Array;
}

/** An event as clients get it, made once and shared by all that watch it. It holds no memory of the response it came in. */
export interface EncodedEvent {
  readonly type: EventType;
  /** The `WatchResponse.events` field (tag, length, payload), with the previous key if the shard sent it. Never change the bytes. */
  readonly full: Uint8Array;
  /** The same without the previous key; made when first asked for, in memory of the same kind as `full`. */
  readonly plain: Uint8Array;
  /** What both take, about, bytes: the same from the beginning on, whether `plain` has been asked for or not. */
  readonly bytes: number;
}

/** Throws `StatusError` INVALID_ARGUMENT when `response` is no WatchResponse. */
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
 * The revision in the header of a shard's response, which none of its events exceeds; `Infinity` when the response
 * tells of something besides events. Throws as `decodeWatch`, but reads no further than it must.
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
 * The event for clients, in memory from `allocate`: every revision in it mapped by `map`, all else untouched. Throws
 * `StatusError` INVALID_ARGUMENT when it is malformed inside.
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
 * All of a WatchResponse but its events, whose fields follow it. `header` is a header FIELD as `encodeHeader` of
 * rewrite.ts makes it.
 */
export function encodeWatchHead(header: Uint8Array, watchId: number, flags?: WatchFlags): Uint8Array {
  return writer.encode(writeWatchHead, { header, watchId, flags });
}

/** The fields of a WatchResponse that most responses leave out; as in `WatchResponse`. */
export interface WatchFlags {
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: number;
  readonly cancelReason?: string;
  readonly fragment?: boolean;
}

class SharedEvent implements EncodedEvent {
  /** `plain`, once it is known. */
  private stripped: Uint8Array | undefined;

  constructor(
    readonly type: EventType,
    readonly full: Uint8Array,
    /** What the previous key takes, bytes, before revisions were mapped; 0 without one. */
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

/** The event field `full` without its previous key. */
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

/** An event field whose payload is what is between `from` and `to` of `source`, patched. */
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

/** Reads over a header, of which nothing is wanted, as strictly as who decodes it. */
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

/** An Event field whose tag has been read. */
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
