import type { IncomingMessage, ServerResponse } from "node:http";
import type { TLSSocket } from "node:tls";
import { sendText } from "./answers.js";

/** Who may use HTTP, as etcd's `--cors` and `--host-whitelist`. */
export interface AccessOptions {
  /** Origins whose pages may read answers; `*` means every one. None: browsers keep answers from other sites' pages. */
  readonly cors: readonly string[];
  /** Names under which this proxy may be asked without TLS; none, or `*` among them: every one. */
  readonly hosts: readonly string[];
}

/**
 * Sets the CORS headers, and answers what goes no further: OPTIONS, and requests to a name that is not allowed, which
 * is what a web page makes the browser send here after its own name was bound to this address (DNS rebinding). With TLS the
 * certificate protects from that. True when the request is answered.
 */
export function controlAccess(
  { cors, hosts }: AccessOptions,
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
