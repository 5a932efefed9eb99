import { type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from "node:http";
import { Code, type StatusError } from "../../status/error.js";

/** HTTP status by gRPC code, as in etcd 3.5 (3.4 has 412 for FAILED_PRECONDITION). */
const STATUS: Readonly<Record<Code, number>> = {
  [Code.OK]: 200,
  [Code.CANCELLED]: 408,
  [Code.UNKNOWN]: 500,
  [Code.INVALID_ARGUMENT]: 400,
  [Code.DEADLINE_EXCEEDED]: 504,
  [Code.NOT_FOUND]: 404,
  [Code.ALREADY_EXISTS]: 409,
  [Code.PERMISSION_DENIED]: 403,
  [Code.RESOURCE_EXHAUSTED]: 429,
  [Code.FAILED_PRECONDITION]: 400,
  [Code.ABORTED]: 409,
  [Code.OUT_OF_RANGE]: 400,
  [Code.UNIMPLEMENTED]: 501,
  [Code.INTERNAL]: 500,
  [Code.UNAVAILABLE]: 503,
  [Code.DATA_LOSS]: 500,
  [Code.UNAUTHENTICATED]: 401,
};

/**
 * The HTTP status of an error of the method at `path`. UNKNOWN of Lock and Election ("election: no leader"), and of what
 * Maintenance says about users ("auth: user name is empty"), is about what the client asked for; etcd answers 500 then, at
 * which clients take the whole endpoint for dead.
 */
export function httpStatus({ code, message }: StatusError, path: string): number {
  const byClient = !path.startsWith("/etcdserverpb.") || message.startsWith("auth: ");
  return code === Code.UNKNOWN && byClient ? 400 : (STATUS[code] ?? 500);
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** Answers 200 with JSON that is ASCII: that can be written as it is. */
export function sendAscii(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "application/json", "content-length": text.length });
  response.end(text, "latin1");
}

/** The answer of a unary call that failed. */
export function sendError(response: ServerResponse, error: StatusError, path: string): void {
  const { code, message } = error;
  sendJson(response, httpStatus(error, path), JSON.stringify({ error: message, message, code }));
}

/** The last chunk of a stream that failed. */
export function streamError(error: StatusError, path: string): string {
  const status = httpStatus(error, path);
  const { code, message } = error;
  return JSON.stringify({
    error: { grpc_code: code, http_code: status, message, http_status: STATUS_CODES[status] },
  });
}

/** Answers with a line of text. */
export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: OutgoingHttpHeaders = {},
): void {
  const body = Buffer.from(`${text}\n`);
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
    "content-length": body.length,
    ...headers,
  });
  response.end(body);
}
