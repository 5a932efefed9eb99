import { Code, StatusError } from "../status/error.js";

/** How a call ended, as its link reports it. */
export interface RawStatus {
  readonly code: number;
  readonly details: string;
  /**
   * Whether the endpoint has answered, has certainly not seen the request, or may have. Undefined from grpc-js,
   * where only the texts differ.
   */
  readonly fate?: "answered" | "unsent" | "lost";
}

/**
 * What an unsuccessful status means for the request.
 * - `etcd`: an error of etcd (its texts start with "etcdserver:").
 * - `unsent`: the request certainly never reached an etcd. Even a write may be sent again.
 * - `lost`: the connection was lost in between. The request may or may not have taken effect.
 * - `answer`: any other answer of the server, passed on unchanged.
 */
export type Failure = "etcd" | "unsent" | "lost" | "answer";

// Only its texts distinguish grpc-js's failures. test/shard/client.test.ts pins them.
const UNSENT =
  /^(No connection established|Name resolution failed|Stream refused by server|Failed to start HTTP\/2 stream|Channel closed before call started)/;
const LOST = /^(Connection dropped|Received RST_STREAM|Call cancelled)/;

/** Classifies an unsuccessful status. A doubtful one is never `unsent`. */
export function classify(status: RawStatus): Failure {
  if (status.fate === "unsent" || status.fate === "lost") return status.fate;
  if (status.details.startsWith("etcdserver:")) return "etcd";
  if (status.fate === "answered") return status.code === Code.UNAVAILABLE ? "lost" : "answer";
  if (UNSENT.test(status.details)) return "unsent";
  if (LOST.test(status.details) || status.code === Code.UNAVAILABLE) return "lost";
  return "answer";
}

/** Returns the server's answer as an error for the client, with code and text unchanged. */
export function answered(status: RawStatus): StatusError {
  const known = Number.isInteger(status.code) && status.code > 0 && status.code <= Code.UNAUTHENTICATED;
  return new StatusError(known ? (status.code as Code) : Code.UNKNOWN, status.details);
}

/**
 * The error of a call that is not idempotent and has certainly had no effect: it never reached an etcd, or was
 * refused for its token. Other errors with the same codes leave that open.
 */
export class UnsentError extends StatusError {}

/** The error of a call given up because its endpoint is silent while another answers. It may have taken effect. */
export class AbandonedError extends StatusError {}

/**
 * Returns `error` as an `UnsentError`, for a call that was not sent. Idempotent calls keep their error: an earlier
 * attempt may have been lost.
 */
export function unsent(error: StatusError, { idempotent }: { readonly idempotent: boolean }): StatusError {
  return idempotent ? error : new UnsentError(error.code, error.message, { cause: error });
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ETIMEDOUT: "connection timed out",
  ENOTFOUND: "unknown host",
  EAI_AGAIN: "name lookup failed",
  ENOENT: "no such socket",
  EACCES: "permission denied",
};

/** Extracts Node's error from grpc-js's text for a failed connection. */
export function lastError(text: string): string {
  return (
    /Last error: (?:Error: )?(.*?)(?: \(\d{4}-\d\d-\d\dT[^)]*\))?\. Resolution note/.exec(text)?.[1] ?? text
  );
}

/** Shortens the text of Node or grpc-js for a failed connection, such as to "connection refused". */
export function connectionReason(text: string): string {
  const inner = lastError(text);
  const code = /\b(E[A-Z_]{4,})\b/.exec(inner)?.[1];
  if (inner.startsWith("Failed to connect")) return "connection closed during setup";
  return (code === undefined ? undefined : SYSTEM_ERRORS[code]) ?? inner;
}
