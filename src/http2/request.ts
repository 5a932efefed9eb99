import type { Field } from "./hpack/table.js";
import { parseTimeout } from "./text.js";

/** What a request's header block says; shared by all requests with the same block, never changed. */
export interface RequestHead {
  /** Breaks HTTP/2: the stream is reset with PROTOCOL_ERROR. */
  readonly malformed: string | undefined;
  /** Larger than the limit; nothing else is known. */
  readonly tooLarge: boolean;
  /** Has fields that only a first block may have. */
  readonly hasPseudo: boolean;
  readonly method: string;
  readonly path: string;
  /** A POST of a gRPC content type. */
  readonly isGrpc: boolean;
  /** Milliseconds that the client allows; `Infinity` when it does not say. */
  readonly timeoutMs: number;
  /** A `grpc-timeout` that is none. */
  readonly badTimeout: boolean;
  /** The announced length of the body, or -1. */
  readonly contentLength: number;
  /** All regular fields. */
  readonly fields: readonly Field[];
}

const PSEUDO = [":method", ":scheme", ":path", ":authority"];
const GRPC = /^application\/grpc($|[+;])/;
/** Fields of a single connection, which HTTP/2 does not have. */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Reads a header block of a client; as a first block or as trailers, which `hasPseudo` and `checkRequest` tell apart. */
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
    if (pseudo.has(name)) return `${name} twice`;
    return undefined;
  }
  if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) return "a field name that is none";
  if (/[\0\r\n]/.test(value)) return `a value of ${name} that is none`;
  if (HOP_BY_HOP.has(name)) return `the field ${name}`;
  if (name === "te" && value !== "trailers") return "te that is not trailers";
  if (name === "content-length" && !/^\d{1,15}$/.test(value)) return "content-length that is no number";
  return undefined;
}

function incomplete(pseudo: ReadonlyMap<string, string>): string | undefined {
  for (const name of [":method", ":scheme", ":path"]) if (!pseudo.get(name)) return `no ${name}`;
  return undefined;
}
