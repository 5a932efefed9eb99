/** Constants and errors of HTTP/2 (RFC 9113). */

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = {
  ACK: 0x1,
  END_STREAM: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

export const ErrorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

const ERROR_NAMES = Object.keys(ErrorCode);

/** Returns the name of an error code, such as `CANCEL` for 8, or `error 99` if it has none. */
export function errorName(code: number): string {
  return ERROR_NAMES[code] ?? `error ${code}`;
}

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** The connection preface, which a client sends first. */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const FRAME_HEADER_BYTES = 9;
/** Initial flow-control window of streams and connections, in bytes. */
export const DEFAULT_WINDOW = 65_535;
/** Largest flow-control window, in bytes. Also the mask for 31-bit fields. */
export const MAX_WINDOW = 2 ** 31 - 1;
/** Largest frame payload that every peer accepts, and the least that SETTINGS_MAX_FRAME_SIZE may be, in bytes. */
export const DEFAULT_FRAME_SIZE = 16_384;
/** Most that SETTINGS_MAX_FRAME_SIZE may be, in bytes. */
export const MAX_FRAME_SIZE = 2 ** 24 - 1;
/** Initial size of HPACK's dynamic table, in bytes. */
export const DEFAULT_TABLE_SIZE = 4096;

/** A bound of ours that a peer can exceed without violating the protocol. */
export type Bound = "resets" | "empty_frames" | "header_block" | "unread_answers" | "unresponsive";

/** The peer violated the protocol or exceeded a bound. The connection ends with GOAWAY and this code. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** The bound that the peer exceeded, if any. */
    readonly bound?: Bound,
  ) {
    super(message);
  }
}

export function protocolError(text: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, text);
}

export function frameSizeError(frame: string): ConnectionError {
  return new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${frame} with a wrong length`);
}
