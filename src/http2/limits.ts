import { ConnectionError, ErrorCode } from "./protocol.js";

/** Bounds on what one peer may make us hold or do. */
export interface ConnectionLimits {
  /** Streams that the peer may have open at the same time. */
  readonly maxStreams: number;
  /** Flow-control window of each stream: bytes that a peer may send before they are consumed. */
  readonly streamWindow: number;
  readonly connectionWindow: number;
  /** Bytes of a header list, as SETTINGS_MAX_HEADER_LIST_SIZE counts them, and of its encoded block. */
  readonly maxHeaderBytes: number;
  /** Bytes of messages of one connection that are incomplete or undelivered, and of calls in progress. */
  readonly maxBufferedBytes: number;
  /** The same of all connections together, for those that have more than their fair share. */
  readonly maxBufferedTotal: number;
  /** Messages up to this size are let in nevertheless; 0 for none. */
  readonly freeMessageBytes: number;
  /** Room that a message gets before its bytes have come, at most what is announced; more comes with them, bytes. */
  readonly messageRoom: number;
  /** Bytes that wait to be sent on one connection, above which single answers are no longer queued. */
  readonly maxQueuedBytes: number;
  /** The same of all connections together, for those that have more waiting than their fair share. */
  readonly maxQueuedTotal: number;
  /** Silence after which a ping is sent, ms, and how long its answer may take. */
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  /** Pings are sent only while there are streams. */
  readonly pingOnlyWithStreams: boolean;
}

/** Empty or tiny frames of a header block before it is a flood. */
export const MAX_CONTINUATIONS = 64;
/** Bytes waiting for a peer that does not read, beyond which even control frames are too much. */
export const MAX_BACKLOG = 8 * 1024 * 1024;

/** Frames that get a peer nowhere (pings, settings, priorities, empty data, …) and that may come in a row. */
const MAX_IDLE_FRAMES = 10_000;
const IDLE_PERIOD = 10_000;
/** So many of them a frame that does work makes good for: dear enough that nobody buys floods with it. */
const EARNED = 100;
/** Streams that may be reset in a row, and how many more per second. */
const RESET_BURST = 2_000;
const RESETS_PER_SECOND = 500;

/**
 * Counts frames that do no work. What does work makes good for them, and each data frame of ours for one: who only listens
 * still has to grant windows, and measures with pings how fast data comes.
 */
export class IdleFrames {
  private count = 0;
  private since = 0;
  private sentBefore = 0;

  constructor(private readonly sent: { readonly dataFrames: number }) {}

  /** `cost`: how many usual frames it is worth. Throws ENHANCE_YOUR_CALM when there are too many. */
  add(cost = 1): void {
    this.count += cost;
    if (this.count <= MAX_IDLE_FRAMES) return;
    const { dataFrames } = this.sent;
    this.count -= Math.min(MAX_IDLE_FRAMES, dataFrames - this.sentBefore);
    this.sentBefore = dataFrames;
    if (this.count <= MAX_IDLE_FRAMES) return;
    const now = Date.now();
    if (now - this.since < IDLE_PERIOD) {
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        "too many frames that carry nothing",
        "empty_frames",
      );
    }
    this.since = now;
    this.count = 0;
  }

  /** A frame that does work came. */
  earn(): void {
    if (this.count > 0) this.count = Math.max(0, this.count - EARNED);
  }
}

/** Counts streams that end by a reset, whoever sends it: each is work begun for nothing. */
export class Resets {
  private left = RESET_BURST;
  private since = Date.now();

  /** Throws ENHANCE_YOUR_CALM when there are too many. */
  add(): void {
    if (--this.left >= 0) return;
    const now = Date.now();
    this.left = Math.min(RESET_BURST, Math.floor(((now - this.since) * RESETS_PER_SECOND) / 1000)) - 1;
    this.since = now;
    if (this.left < 0)
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset", "resets");
  }
}
