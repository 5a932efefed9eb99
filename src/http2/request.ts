import { parseTimeout } from "./grpc.js";
import type { Field } from "./hpack/table.js";

/** A request's header block, parsed. It is immutable: all requests with the same block share it. */
export interface RequestHead {
  /** How the block violates HTTP/2, if it does. The stream is then reset with PROTOCOL_ERROR. */
  readonly malformed: string | undefined;
  /** The block was larger than the limit. All other fields are empty. */
  readonly tooLarge: boolean;
  /** Whether it has pseudo-header fields, as only the first block of a stream may. */
  readonly hasPseudo: boolean;
  readonly method: string;
  readonly path: string;
  /** A POST of a gRPC content type. */
  readonly isGrpc: boolean;
  /** The client's `grpc-timeout`; `Infinity` without one. */
  readonly timeoutMs: number;
  /** The `grpc-timeout` is malformed. */
  readonly badTimeout: boolean;
  /** The `content-length` in bytes, or -1 without one. */
  readonly contentLength: number;
  /** All fields but the pseudo-header fields. */
  readonly fields: readonly Field[];
}

const PSEUDO = [":method", ":scheme", ":path", ":authority"];
const GRPC = /^application\/grpc($|[+;])/;
/** Connection-specific fields, which HTTP/2 forbids (RFC 9113, 8.2.2). */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Parses a client's header block, either a first block or trailers: only the former have pseudo-header fields. */
export function readRequest(fields: readonly Field[] | undefined): RequestHead {
  if (fields === undefined) return { ...EMPTY, tooLarge: true };
  const pseudo = new Map<string, string>();
  const regular: Field[] = [];
  let malformed: string | undefined;
  for (const field of fields) {
    malformed ??= problem(field, regular.length > 0, pseudo);
    if (field.name.startsWith(":")) pseudo.set(field.name, field.value);
    else regular.push(field);
  }
  if (pseudo.size > 0) malformed ??= incomplete(pseudo);
  const value = (name: string) => regular.find((field) => field.name === name)?.value;
  const timeout = value("grpc-timeout");
  const timeoutMs = timeout === undefined ? Number.POSITIVE_INFINITY : parseTimeout(timeout);
  return {
    malformed,
    tooLarge: false,
    hasPseudo: pseudo.size > 0,
    method: pseudo.get(":method") ?? "",
    path: pseudo.get(":path") ?? "",
    isGrpc: pseudo.get(":method") === "POST" && GRPC.test(value("content-type") ?? ""),
    timeoutMs: timeoutMs ?? Number.POSITIVE_INFINITY,
    badTimeout: timeoutMs === undefined,
    contentLength: Number(value("content-length") ?? -1),
    fields: regular,
  };
}

const EMPTY: RequestHead = {
  malformed: undefined,
  tooLarge: false,
  hasPseudo: false,
  method: "",
  path: "",
  isGrpc: false,
  timeoutMs: Number.POSITIVE_INFINITY,
  badTimeout: false,
  contentLength: -1,
  fields: [],
};

function problem(
  { name, value }: Field,
  afterRegular: boolean,
  pseudo: Map<string, string>,
): string | undefined {
  if (name.startsWith(":")) {
    if (!PSEUDO.includes(name)) return `unknown field ${name}`;
    if (afterRegular) return `${name} after a regular field`;
    if (pseudo.has(name)) return `duplicate ${name}`;
    return undefined;
  }
  if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) return "invalid field name";
  if (/[\0\r\n]/.test(value)) return `invalid value of ${name}`;
  if (HOP_BY_HOP.has(name)) return `connection-specific field ${name}`;
  if (name === "te" && value !== "trailers") return "te is not trailers";
  if (name === "content-length" && !/^\d{1,15}$/.test(value)) return "content-length is not a number";
  return undefined;
}

function incomplete(pseudo: ReadonlyMap<string, string>): string | undefined {
  for (const name of [":method", ":scheme", ":path"]) if (!pseudo.get(name)) return `no ${name}`;
  return undefined;
}
