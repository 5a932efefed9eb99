import { ConnectionError, ErrorCode } from "./protocol.js";

/** Bounds on the memory and the work that one peer can cause. */
export interface ConnectionLimits {
  /** Most streams that the peer may have open at the same time. */
  readonly maxStreams: number;
  /** Flow-control window of each stream, in bytes: what a peer may send before it is consumed. */
  readonly streamWindow: number;
  /** Flow-control window of the connection, in bytes. */
  readonly connectionWindow: number;
  /** Most bytes of a header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts them, and of its encoded block. */
  readonly maxHeaderBytes: number;
  /** Most bytes of incomplete and undelivered messages and of calls in progress on one connection. */
  readonly maxBufferedBytes: number;
  /** The same bound for all connections together. It applies to connections that exceed their fair share. */
  readonly maxBufferedTotal: number;
  /** Messages up to this size, in bytes, are exempt from both bounds; 0 for none. */
  readonly freeMessageBytes: number;
  /** Memory reserved for a message before its bytes arrive, in bytes, at most its announced size. */
  readonly messageRoom: number;
  /** Most bytes queued for sending on one connection. Beyond it, answers of unary calls are refused. */
  readonly maxQueuedBytes: number;
  /** The same bound for all connections together. It applies to connections that exceed their fair share. */
  readonly maxQueuedTotal: number;
  /** How long a peer may be silent before it is pinged. */
  readonly pingIntervalMs: number;
  /** How long a ping may go unanswered before the peer is given up. */
  readonly pingTimeoutMs: number;
  /** Pings are sent only while there are streams. */
  readonly pingOnlyWithStreams: boolean;
}

/** Most frames of one header block. */
export const MAX_CONTINUATIONS = 64;
/** Most bytes queued for a peer that does not read. Beyond it, even control frames end the connection. */
export const MAX_BACKLOG_BYTES = 8 * 1024 * 1024;

/** Idle frames (pings, settings, priorities, empty data) allowed in a period. */
const MAX_IDLE_FRAMES = 10_000;
const IDLE_PERIOD_MS = 10_000;
/** Idle frames forgiven per useful frame. */
const FORGIVEN_FRAMES = 100;
/** Streams that may be reset in a row, and further ones per second. */
const RESET_BURST = 2_000;
const RESETS_PER_SECOND = 500;

/**
 * Counts frames that carry nothing. Useful frames of the peer offset them. So does each of our data frames: a peer
 * that only receives still sends window updates, and pings to measure the bandwidth.
 */
export class IdleFrames {
  private count = 0;
  private since = 0;
  private sentBefore = 0;

  constructor(private readonly sent: { readonly dataFrames: number }) {}

  /** Counts an idle frame as `cost` of them. Throws ENHANCE_YOUR_CALM if there are too many. */
  add(cost = 1): void {
    this.count += cost;
    if (this.count <= MAX_IDLE_FRAMES) return;
    const { dataFrames } = this.sent;
    this.count -= Math.min(MAX_IDLE_FRAMES, dataFrames - this.sentBefore);
    this.sentBefore = dataFrames;
    if (this.count <= MAX_IDLE_FRAMES) return;
    const now = Date.now();
    if (now - this.since < IDLE_PERIOD_MS) {
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        "too many frames that carry nothing",
        "empty_frames",
      );
    }
    this.since = now;
    this.count = 0;
  }

  /** Call it for each useful frame. */
  forgive(): void {
    if (this.count > 0) this.count = Math.max(0, this.count - FORGIVEN_FRAMES);
  }
}

/** Counts streams that end by a reset from either side: their work was in vain. */
export class Resets {
  private left = RESET_BURST;
  private since = Date.now();

  /** Counts a reset. Throws ENHANCE_YOUR_CALM if there are too many. */
  add(): void {
    if (--this.left >= 0) return;
    const now = Date.now();
    this.left = Math.min(RESET_BURST, Math.floor(((now - this.since) * RESETS_PER_SECOND) / 1000)) - 1;
    this.since = now;
    if (this.left < 0)
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset", "resets");
  }
}
