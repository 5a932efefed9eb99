import type { RequestListener } from "node:http";
import type { Log } from "../../ops/log.js";
import type { PageHandler } from "../../transport/gateway/pages.js";
import { sendText } from "../../transport/gateway/responses.js";
import { Port } from "../../transport/port/port.js";

export interface PageServer {
  close(): Promise<void>;
}

/** Maximum number of open connections: each scraper and probe needs one. */
const MAX_CONNECTIONS = 256;

/**
 * Serves pages over plain HTTP/1.1 at `address` (`host:port`), with the same limits as for client connections. Rejects if it
 * cannot listen there.
 */
export async function servePages(
  address: string,
  pages: ReadonlyMap<string, PageHandler>,
  log: Log,
): Promise<PageServer> {
  const options = { listen: [address], http1: answer(pages, log), maxConnections: MAX_CONNECTIONS, log };
  const port = await Port.open(options, (socket) => socket.destroy()).catch((error: Error) => {
    throw new Error(`metrics.listen: ${error.message}`, { cause: error });
  });
  return { close: () => port.close(0) };
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
