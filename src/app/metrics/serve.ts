import type { RequestListener } from "node:http";
import { type Console, isConsolePath } from "../../console/console.js";
import type { Log } from "../../ops/log.js";
import type { PageHandler } from "../../transport/gateway/pages.js";
import { sendText } from "../../transport/gateway/responses.js";
import { Port } from "../../transport/port/port.js";

export interface PageServer {
  /** `host:port`, with the actual port. */
  readonly address: string;
  close(): Promise<void>;
}

/** Maximum number of open connections: each scraper and probe needs one. */
const MAX_CONNECTIONS = 256;

/**
 * Serves pages, and the console if there is one, over plain HTTP/1.1 at `address` (`host:port`), with the same limits as for client
 * connections. Rejects if it cannot listen there.
 */
export async function servePages(
  address: string,
  pages: ReadonlyMap<string, PageHandler>,
  log: Log,
  console?: Pick<Console, "handle">,
): Promise<PageServer> {
  const plain = answer(pages, log);
  const http1: RequestListener = (request, response) => {
    if (console !== undefined && isConsolePath(request.url ?? "")) console.handle(request, response);
    else plain(request, response);
  };
  const options = { listen: [address], http1, maxConnections: MAX_CONNECTIONS, log };
  const port = await Port.open(options, (socket) => socket.destroy()).catch((error: Error) => {
    throw new Error(`metrics.listen: ${error.message}`, { cause: error });
  });
  return { address: port.addresses[0]!, close: () => port.close(0) };
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
