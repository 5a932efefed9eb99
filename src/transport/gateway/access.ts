import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";
import type { Config } from "../../config/types.js";
import { sendText } from "./responses.js";

/**
 * Sets the CORS headers and ends requests that go no further: OPTIONS, and those for a host that is not allowed. The host
 * check stops DNS rebinding, where a web page's own name resolves to this proxy's address; with TLS the certificate
 * does. Returns true if the response has been sent.
 */
export function controlAccess(
  { cors, hosts }: Config["http"],
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  if (hosts.length > 0 && !hosts.includes("*") && !(request.socket as Partial<TLSSocket>).encrypted) {
    const host = hostname(request.headers.host ?? "");
    if (!hosts.includes(host)) {
      sendText(
        response,
        421,
        `host ${JSON.stringify(host)} is not allowed by http.hosts in this proxy's configuration`,
      );
      return true;
    }
  }
  if (cors.length > 0) {
    const { origin } = request.headers;
    const allowed = cors.includes("*") ? "*" : cors.find((each) => each === origin);
    if (allowed !== undefined) {
      response.setHeader("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE");
      response.setHeader("access-control-allow-origin", allowed);
      response.setHeader("access-control-allow-headers", "accept, content-type, authorization");
    }
    if (!cors.includes("*")) response.setHeader("vary", "Origin");
  }
  if (request.method !== "OPTIONS") return false;
  response.writeHead(200, { "content-length": 0 }).end();
  return true;
}

/** A Host header without its port and without the brackets of IPv6. */
function hostname(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):\d*$/.exec(host);
  return match?.[1] ?? match?.[2] ?? host;
}
