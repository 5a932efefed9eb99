import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import { type Event, readEvent, writeEvent } from "./keyvalue.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** Events that a watcher does not want. */
export const FilterType = { NOPUT: 0, NODELETE: 1 } as const;
export type FilterType = (typeof FilterType)[keyof typeof FilterType];

/** Begins a watch on a key or a range, which is given as in RangeRequest. */
export interface WatchCreateRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  /** First revision of interest; 0: from now on. */
  startRevision: number;
  /** Whether to tell of progress while nothing happens. */
  progressNotify: boolean;
  /** Values of `FilterType`; others have no effect. */
  filters: number[];
  /** Whether events bring the key as it was before. */
  prevKv: boolean;
  /** 0: the server chooses. */
  watchId: number;
  /** Whether one revision may be split over responses. */
  fragment: boolean;
  unknown?: Uint8Array;
}

function readWatchCreateRequest(
  r: Reader,
  m: WatchCreateRequest = {
    key: EMPTY,
    rangeEnd: EMPTY,
    startRevision: 0,
    progressNotify: false,
    filters: [],
    prevKv: false,
    watchId: 0,
    fragment: false,
  },
): WatchCreateRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.key = r.data();
        break;
      case 0x12:
        m.rangeEnd = r.data();
        break;
      case 0x18:
        m.startRevision = r.int64();
        break;
      case 0x20:
        m.progressNotify = r.bool();
        break;
      case 0x28:
        m.filters.push(r.int32());
        break;
      case 0x2a: {
        const outer = r.enter();
        while (r.more()) m.filters.push(r.int32());
        r.limit = outer;
        break;
      }
      case 0x30:
        m.prevKv = r.bool();
        break;
      case 0x38:
        m.watchId = r.int64();
        break;
      case 0x40:
        m.fragment = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 8);
    }
  }
  return m;
}

function writeWatchCreateRequest(w: Writer, m: Init<WatchCreateRequest>): void {
  w.raw(m.unknown);
  w.bool(0x40, m.fragment);
  w.int64(0x38, m.watchId);
  w.bool(0x30, m.prevKv);
  w.packed(0x2a, m.filters);
  w.bool(0x20, m.progressNotify);
  w.int64(0x18, m.startRevision);
  w.data(0x12, m.rangeEnd);
  w.data(0x0a, m.key);
}

export const WatchCreateRequest: Codec<WatchCreateRequest> = codec(
  readWatchCreateRequest,
  writeWatchCreateRequest,
);

/** What a client sends on a watch stream. `none`: a message without any of the three, which etcd ignores. */
export type WatchRequest =
  | { kind: "create"; request: WatchCreateRequest; unknown?: Uint8Array }
  | { kind: "cancel"; watchId: number; unknown?: Uint8Array }
  | { kind: "progress"; unknown?: Uint8Array }
  | { kind: "none"; unknown?: Uint8Array };

function readWatchRequest(r: Reader): WatchRequest {
  let m: WatchRequest = { kind: "none" };
  let unknown: Uint8Array | undefined;
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m = { kind: "create", request: r.message(readWatchCreateRequest) };
        break;
      case 0x12:
        m = { kind: "cancel", watchId: r.message(readWatchCancel) };
        break;
      case 0x1a:
        r.message(readWatchProgress);
        m = { kind: "progress" };
        break;
      default:
        unknown = r.unknown(tag, unknown, 3);
    }
  }
  if (unknown !== undefined) m.unknown = unknown;
  return m;
}

function writeWatchRequest(w: Writer, m: Init<WatchRequest>): void {
  w.raw(m.unknown);
  switch (m.kind) {
    case "create":
      w.message(0x0a, writeWatchCreateRequest, m.request ?? {});
      break;
    case "cancel":
      w.message(0x12, writeWatchCancel, m.watchId ?? 0);
      break;
    case "progress":
      w.message(0x1a, writeWatchProgress, true);
      break;
  }
}

function readWatchCancel(r: Reader): number {
  let watchId = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === 0x08) watchId = r.int64();
    else r.skip(tag, 1);
  }
  return watchId;
}

function writeWatchCancel(w: Writer, watchId: number): void {
  w.int64(0x08, watchId);
}

/** A progress request has no fields: that it is there is all it says. */
function readWatchProgress(r: Reader): true {
  while (r.more()) r.skip(r.tag());
  return true;
}

function writeWatchProgress(): void {}

export const WatchRequest: Codec<WatchRequest> = codec(readWatchRequest, writeWatchRequest);

/** Tells of watches and their events. */
export interface WatchResponse {
  header?: ResponseHeader;
  /** -1: no watch, or all of them. */
  watchId: number;
  created: boolean;
  canceled: boolean;
  /** Oldest state still there, when the watch asked for an older one. */
  compactRevision: number;
  cancelReason: string;
  /** Whether the rest of this revision follows. */
  fragment: boolean;
  events: Event[];
  unknown?: Uint8Array;
}

function readWatchResponse(
  r: Reader,
  m: WatchResponse = {
    watchId: 0,
    created: false,
    canceled: false,
    compactRevision: 0,
    cancelReason: "",
    fragment: false,
    events: [],
  },
): WatchResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.watchId = r.int64();
        break;
      case 0x18:
        m.created = r.bool();
        break;
      case 0x20:
        m.canceled = r.bool();
        break;
      case 0x28:
        m.compactRevision = r.int64();
        break;
      case 0x32:
        m.cancelReason = r.text();
        break;
      case 0x38:
        m.fragment = r.bool();
        break;
      case 0x5a:
        m.events.push(r.message(readEvent));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 7, 11);
    }
  }
  return m;
}

function writeWatchResponse(w: Writer, m: Init<WatchResponse>): void {
  w.raw(m.unknown);
  w.messages(0x5a, writeEvent, m.events);
  w.bool(0x38, m.fragment);
  w.text(0x32, m.cancelReason);
  w.int64(0x28, m.compactRevision);
  w.bool(0x20, m.canceled);
  w.bool(0x18, m.created);
  w.int64(0x10, m.watchId);
  w.message(0x0a, writeHeader, m.header);
}

export const WatchResponse: Codec<WatchResponse> = codec(readWatchResponse, writeWatchResponse);
