import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";
import type { Config } from "../../config/types.js";
import { sendText } from "./answers.js";

/**
 * Sets the CORS headers, and answers what goes no further: OPTIONS, and requests to a name that is not allowed, which
 * is what a web page makes the browser send here after its own name was bound to this address (DNS rebinding). With TLS the
 * certificate protects from that. True when the request is answered.
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
        `the host ${JSON.stringify(host)} is not among http.hosts of this proxy's configuration`,
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

/** A Host header without the port and without the brackets of IPv6. */
function hostname(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):\d*$/.exec(host);
  return match?.[1] ?? match?.[2] ?? host;
}
