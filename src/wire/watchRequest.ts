import { type Codec, codec, type Init } from "./codec.js";
import { WatchCreateRequest } from "./generated/codecs.js";
import * as tags from "./generated/tags.js";
import type { Reader } from "./reader.js";
import type { Writer } from "./writer.js";

const { createRequest: CREATE, cancelRequest: CANCEL, progressRequest: PROGRESS } = tags.WatchRequest;
const { watchId: WATCH_ID } = tags.WatchCancelRequest;

/** A client's message on a watch stream. `none`: a message without any of the three requests, which etcd ignores. */
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
      case CREATE:
        m = { kind: "create", request: r.message(WatchCreateRequest.read) };
        break;
      case CANCEL:
        m = { kind: "cancel", watchId: r.message(readWatchCancel) };
        break;
      case PROGRESS:
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
      w.message(CREATE, WatchCreateRequest.write, m.request ?? {});
      break;
    case "cancel":
      w.message(CANCEL, writeWatchCancel, m.watchId ?? 0);
      break;
    case "progress":
      w.message(PROGRESS, writeWatchProgress, true);
      break;
  }
}

function readWatchCancel(r: Reader): number {
  let watchId = 0;
  while (r.more()) {
    const tag = r.tag();
    if (tag === WATCH_ID) watchId = r.int64();
    else r.skip(tag, 1);
  }
  return watchId;
}

function writeWatchCancel(w: Writer, watchId: number): void {
  w.int64(WATCH_ID, watchId);
}

/** A progress request has no fields. */
function readWatchProgress(r: Reader): true {
  while (r.more()) r.skip(r.tag());
  return true;
}

function writeWatchProgress(): void {}

export const WatchRequest: Codec<WatchRequest> = codec(readWatchRequest, writeWatchRequest);
