import { type OutgoingHttpHeaders, type ServerResponse, STATUS_CODES } from "node:http";
import { Code, type StatusError } from "../../status/error.js";

/** HTTP status by gRPC code, as in etcd 3.5. (etcd 3.4 has 412 for FAILED_PRECONDITION.) */
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
 * HTTP status for an error of the method at `path`. Lock and Election ("election: no leader"), and checks of users ("auth:
 * user name is empty"), return UNKNOWN for the client's mistakes. etcd makes that 500, and clients then take the whole
 * endpoint for dead; here it is 400.
 */
export function httpStatus({ code, message }: StatusError, path: string): number {
  const byClient = !path.startsWith("/etcdserverpb.") || message.startsWith("auth: ");
  return code === Code.UNKNOWN && byClient ? 400 : (STATUS[code] ?? 500);
}

/** Sends a JSON response. */
export function sendJson(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

/** Sends a 200 response with JSON that is ASCII, one byte a character. */
export function sendAscii(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "application/json", "content-length": text.length });
  response.end(text, "latin1");
}

/** Sends the response of a failed unary call. */
export function sendError(response: ServerResponse, error: StatusError, path: string): void {
  const { code, message } = error;
  sendJson(response, httpStatus(error, path), JSON.stringify({ error: message, message, code }));
}

/** The last chunk of a failed stream. */
export function streamError(error: StatusError, path: string): string {
  const status = httpStatus(error, path);
  const { code, message } = error;
  return JSON.stringify({
    error: { grpc_code: code, http_code: status, message, http_status: STATUS_CODES[status] },
  });
}

/** Sends a line of text. */
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
