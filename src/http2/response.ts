import { decodeMessage } from "./grpc.js";
import type { Field } from "./hpack/table.js";

/** A header block of a response, parsed. It is immutable: all responses with the same block share it. */
export interface ResponseHead {
  readonly malformed: boolean;
  /** HTTP status; 0 in trailers. */
  readonly httpStatus: number;
  /** Has a gRPC content type. */
  readonly isGrpc: boolean;
  /** The `grpc-status`; -1 without one. */
  readonly code: number;
  readonly message: string;
}

const GRPC = /^application\/grpc($|[+;])/;

/** Parses a server's header block. `fields` is undefined if the block was too large. */
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
