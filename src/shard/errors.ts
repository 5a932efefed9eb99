import { Code, StatusError } from "../status/error.js";

/** How a call ended, as what carried it tells. */
export interface RawStatus {
  readonly code: number;
  readonly details: string;
  /**
   * Whether the endpoint itself has answered, has certainly not seen the request, or nobody knows. Undefined when only
   * the texts tell.
   */
  readonly fate?: "answered" | "unsent" | "lost";
}

/**
 * What an unsuccessful status says about the request.
 * - `etcd`: etcd's own answer (its texts begin with "etcdserver:").
 * - `unsent`: the request certainly never reached an etcd; it may be sent again, even a write.
 * - `lost`: the connection went away in between; nobody knows whether the request took effect.
 * - `answer`: any other answer of the server, handed on as it is.
 */
export type Failure = "etcd" | "unsent" | "lost" | "answer";

// The library has no field that tells these apart, only its texts. They are pinned by test/shard/client.test.ts.
const UNSENT =
  /^(No connection established|Name resolution failed|Stream refused by server|Failed to start HTTP\/2 stream|Channel closed before call started)/;
const LOST = /^(Connection dropped|Received RST_STREAM|Call cancelled)/;

/** Sorts an unsuccessful status. A doubtful one is never `unsent`. */
export function classify(status: RawStatus): Failure {
  if (status.fate === "unsent" || status.fate === "lost") return status.fate;
  if (status.details.startsWith("etcdserver:")) return "etcd";
  if (status.fate === "answered") return status.code === Code.UNAVAILABLE ? "lost" : "answer";
  if (UNSENT.test(status.details)) return "unsent";
  if (LOST.test(status.details) || status.code === Code.UNAVAILABLE) return "lost";
  return "answer";
}

/** An answer of the server as the error that a client sees: code and text untouched. */
export function answered(status: RawStatus): StatusError {
  const known = Number.isInteger(status.code) && status.code > 0 && status.code <= Code.UNAUTHENTICATED;
  return new StatusError(known ? (status.code as Code) : Code.UNKNOWN, status.details);
}

/**
 * A call that is not idempotent and has certainly changed nothing: it never reached an etcd, or was turned away for its
 * token. Other errors with these codes leave that open.
 */
export class UnsentError extends StatusError {}

/** A call that was given up because its endpoint is silent while another answers. Whether it took effect is unknown. */
export class AbandonedError extends StatusError {}

/** `error` of a call that has come to nothing. Idempotent ones are not told apart: an attempt before may have been lost. */
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

/** What the library was told by Node, out of its own words for a failed connection. */
export function lastError(text: string): string {
  return (
    /Last error: (?:Error: )?(.*?)(?: \(\d{4}-\d\d-\d\dT[^)]*\))?\. Resolution note/.exec(text)?.[1] ?? text
  );
}

/** The library's or Node's words for a failed connection, made short: "connection refused". */
export function connectionReason(text: string): string {
  const inner = lastError(text);
  const code = /\b(E[A-Z_]{4,})\b/.exec(inner)?.[1];
  if (inner.startsWith("Failed to connect")) return "connection closed while it was set up";
  return (code === undefined ? undefined : SYSTEM_ERRORS[code]) ?? inner;
}
