import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Asset } from "./assets.js";
import { RequestError } from "./requestError.js";

/** The page loads only its own script and style, sends requests only to this server, and cannot be framed. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const HEADERS: OutgoingHttpHeaders = {
  "content-security-policy": POLICY,
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
};

const COOKIE = "braid-console";
/** Largest body of a request, in bytes. */
const MAX_BODY_BYTES = 16 * 1024;
/** How long a body may take to arrive, in milliseconds. */
const BODY_TIMEOUT_MS = 10_000;

function send(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string | Buffer,
  headers: OutgoingHttpHeaders = {},
): void {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  response.writeHead(status, {
    ...HEADERS,
    "content-type": contentType,
    "content-length": bytes.length,
    "cache-control": "no-store",
    ...headers,
  });
  response.end(bytes);
}

export function sendText(
  response: ServerResponse,
  status: number,
  text: string,
  headers: OutgoingHttpHeaders,
): void {
  send(response, status, "text/plain; charset=utf-8", `${text}\n`, headers);
}

export function sendReport(
  response: ServerResponse,
  report: unknown,
  headers: OutgoingHttpHeaders = {},
): void {
  send(response, 200, "application/json", JSON.stringify(report), headers);
}

export function sendFailure(
  response: ServerResponse,
  status: number,
  error: string,
  headers: OutgoingHttpHeaders = {},
): void {
  send(response, status, "application/json", JSON.stringify({ error }), headers);
}

export function sendAsset(request: IncomingMessage, response: ServerResponse, asset: Asset): void {
  const { etag, contentType, gzipped, body } = asset;
  const headers = { etag, "cache-control": "no-cache", vary: "accept-encoding" };
  if (request.headers["if-none-match"] === etag) {
    response.writeHead(304, { ...HEADERS, ...headers }).end();
    return;
  }
  const takesGzip = /\bgzip\b/.test(request.headers["accept-encoding"]?.toString() ?? "");
  send(response, 200, contentType, takesGzip ? gzipped : body, {
    ...headers,
    ...(takesGzip && { "content-encoding": "gzip" }),
  });
}

/** The token in the request's cookie. */
export function readCookie({ headers }: IncomingMessage): string | undefined {
  for (const part of headers.cookie?.split(";") ?? []) {
    const [name, value] = part.trim().split("=", 2);
    if (name === COOKIE && value !== undefined && value !== "") return value;
  }
  return undefined;
}

/** The header that sets the cookie; without a token, it deletes it. */
export function cookieHeader(token: string | undefined): OutgoingHttpHeaders {
  const age = token === undefined ? "; Max-Age=0" : "";
  return { "set-cookie": `${COOKIE}=${token ?? ""}; Path=/console/; HttpOnly; SameSite=Strict${age}` };
}

/** Throws `RequestError` for a request that the page of another origin has sent. */
export function checkOrigin({ headers }: IncomingMessage): void {
  const { origin, host } = headers;
  const site = headers["sec-fetch-site"];
  const isForeign = origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host);
  if (isForeign || site === "cross-site" || site === "same-site")
    throw new RequestError(403, "this request comes from another site");
}

/** Reads a body of JSON with these text fields. Rejects with `RequestError`. */
export async function readFields<Name extends string>(
  request: IncomingMessage,
  ...names: readonly Name[]
): Promise<Record<Name, string>> {
  if (!/^application\/json\b/.test(request.headers["content-type"] ?? ""))
    throw new RequestError(415, "the body must be application/json");
  const text = await readBody(request);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new RequestError(400, "the body is not JSON");
  }
  const fields: Record<string, unknown> = typeof body === "object" && body !== null ? { ...body } : {};
  const entries = names.map((name) => [name, fields[name] ?? ""] as const);
  if (entries.some(([, value]) => typeof value !== "string"))
    throw new RequestError(400, "the fields must be texts");
  return Object.fromEntries(entries) as Record<Name, string>;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => request.destroy(), BODY_TIMEOUT_MS);
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) throw new RequestError(413, "the body is too large");
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).toString("utf8");
}
