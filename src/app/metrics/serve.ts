import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { formatHostPort, parseHostPort } from "../../config/address.js";
import type { Log } from "../../ops/log.js";
import { sendText } from "../../transport/gateway/answers.js";
import type { PageHandler } from "../../transport/gateway/pages.js";

export interface PageServer {
  /** `host:port`. */
  readonly address: string;
  close(): void;
}

/** How long a client may take to send its request, ms. */
const PATIENCE = 10_000;

/** Serves pages over plain HTTP/1.1 at `address` (`host:port`). Rejects when it cannot be listened on. */
export function servePages(
  address: string,
  pages: ReadonlyMap<string, PageHandler>,
  log: Log,
): Promise<PageServer> {
  const server = createServer({ requestTimeout: PATIENCE, headersTimeout: PATIENCE }, answer(pages, log));
  const { host, port } = parseHostPort(address);
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(new Error(`cannot listen on ${address} for metrics: ${error.message}`, { cause: error }));
    });
    server.listen({ host, port }, () => {
      resolve({
        address: formatHostPort({ host, port: (server.address() as AddressInfo).port }),
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

function answer(pages: ReadonlyMap<string, PageHandler>, log: Log): RequestListener {
  return (request, response) => {
    const [path, query] = (request.url ?? "").split("?", 2);
    const page = pages.get(path!);
    if (page === undefined) sendText(response, 404, "404 page not found");
    else if (request.method !== "GET") sendText(response, 405, "Method Not Allowed", { allow: "GET" });
    else {
      page(request, response, new URLSearchParams(query)).catch((error: Error) => {
        log.error({ err: error, url: path }, "a page could not be made");
        if (!response.headersSent) sendText(response, 500, error.message);
      });
    }
  };
}
