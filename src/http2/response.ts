import type { Field } from "./hpack/table.js";
import { decodeMessage } from "./text.js";

/** What a header block of a response says; shared by all responses with the same block, never changed. */
export interface ResponseHead {
  readonly malformed: boolean;
  /** HTTP status; 0 in trailers. */
  readonly httpStatus: number;
  /** Has a gRPC content type. */
  readonly isGrpc: boolean;
  /** gRPC status; -1 when there is none. */
  readonly code: number;
  readonly message: string;
}

const GRPC = /^application\/grpc($|[+;])/;

/** Reads a header block of a server; `undefined` is one that was too large. */
export function readResponse(fields: readonly Field[] | undefined): ResponseHead {
  let httpStatus = 0;
  let code = -1;
  let message = "";
  let isGrpc = false;
  let malformed = fields === undefined;
  for (const { name, value } of fields ?? []) {
    if (name === ":status") httpStatus = Number(value);
    else if (name.startsWith(":")) malformed = true;
    else if (name === "grpc-status") code = /^\d{1,9}$/.test(value) ? Number(value) : 2;
    else if (name === "grpc-message") message = decodeMessage(value);
    else if (name === "content-type") isGrpc = GRPC.test(value);
  }
  return { malformed, httpStatus, isGrpc, code, message };
}
