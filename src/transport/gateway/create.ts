import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Config } from "../../config/types.js";
import type { Log } from "../../ops/log.js";
import type { Handlers } from "../../rpc/call.js";
import type { CallState } from "../../rpc/callState.js";
import type { Probes } from "../../services/probes.js";
import { ConnectionStats } from "../../stats/connections.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { Deadlines } from "../../turn/deadlines.js";
import { CallObserver } from "../observer.js";
import { HIGH_WATER_BYTES } from "../server.js";
import { controlAccess } from "./access.js";
import { sendError, sendText } from "./answers.js";
import type { Endpoint } from "./call.js";
import { createPages, type Page, type PageHandler } from "./pages.js";
import { isGatewayPath, routes } from "./routes.js";
import { HttpStream } from "./stream.js";
import { HttpUnary } from "./unary.js";

export interface GatewayDeps {
  /** The same that gRPC serves. */
  readonly handlers: Handlers;
  readonly probes: Probes;
  /** Further pages to be served to GET, by path: `/metrics`. */
  readonly extra?: ReadonlyMap<string, Page>;
  readonly access: Config["http"];
  /** Counts what waits on connections. */
  readonly connections?: ConnectionStats;
  /** Counts the calls, and is told how they end. */
  readonly observer?: CallObserver;
  /** Largest request message in bytes of protobuf; what is larger is refused with RESOURCE_EXHAUSTED. */
  readonly maxReceiveBytes: number;
  /** Bytes queued for one stream above which `send` answers false. Default `HIGH_WATER_BYTES`. */
  readonly highWaterBytes?: number;
  readonly log: Log;
}

export interface Gateway {
  /** Serves one HTTP/1.1 request, to be given to a server of node:http. */
  readonly handle: RequestListener;
  /** Ends all streams with UNAVAILABLE, and each new one; unary calls go on. */
  stop(): void;
}

/** Base64 is 4/3 of its bytes; the rest is for names, white space and escapes. */
const TEXT_FACTOR = 2;

/**
 * etcd's JSON gateway, and the pages that etcd serves beside it: every method of `handlers` that has an HTTP path.
 * Answers go by etcd's mapping; a client's mistake is never answered with a status of 500 and more.
 */
export function createGateway(deps: GatewayDeps): Gateway {
  return new JsonGateway(deps);
}

class JsonGateway implements Gateway {
  /** By HTTP path; from the first call on. */
  private endpoints: ReadonlyMap<string, Endpoint> | undefined;
  private loading: Promise<ReadonlyMap<string, Endpoint>> | undefined;
  private readonly pages: ReadonlyMap<string, PageHandler>;
  private readonly streams = new Set<HttpStream>();
  private stopping = false;

  constructor(private readonly deps: GatewayDeps) {
    const { probes, extra = new Map(), log } = deps;
    this.pages = createPages(probes, extra, log);
  }

  readonly handle: RequestListener = (request, response) => {
    if (controlAccess(this.deps.access, request, response)) return;
    const [path, query] = split(request.url ?? "/");
    if (routes.has(path)) {
      if (request.method !== "POST") sendText(response, 405, "Method Not Allowed");
      else if (this.endpoints !== undefined) this.call(this.endpoints.get(path)!, request, response);
      else this.callFirst(path, request, response);
      return;
    }
    const page = this.pages.get(path);
    if (page !== undefined) this.page(page, query, request, response);
    else sendText(response, 404, isGatewayPath(path) ? "Not Found" : "404 page not found");
  };

  stop(): void {
    this.stopping = true;
    for (const stream of [...this.streams]) stream.call.abort(etcd.stopped());
  }

  /** A call before the messages' descriptions have been read: many proxies never need them. */
  private callFirst(path: string, request: IncomingMessage, response: ServerResponse): void {
    this.loading ??= loadEndpoints(this.deps);
    this.loading.then(
      (endpoints) => {
        this.endpoints = endpoints;
        if (!response.destroyed) this.call(endpoints.get(path)!, request, response);
      },
      (reason) => {
        this.loading = undefined;
        sendError(response, StatusError.from(reason), path);
      },
    );
  }

  private call(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse): void {
    const { handlers } = this.deps;
    const { path } = endpoint.method;
    const unary = handlers.unary.get(path);
    const handler = handlers.stream.get(path);
    try {
      if (handler !== undefined) {
        const stream = new HttpStream(endpoint, request, response);
        this.streams.add(stream);
        response.once("close", () => this.streams.delete(stream));
        if (this.stopping) stream.call.abort(etcd.stopped());
        else {
          handler(stream.call);
          stream.start();
        }
      } else if (unary !== undefined) {
        new HttpUnary(endpoint, unary, request, response).start();
      } else {
        throw new StatusError(Code.UNIMPLEMENTED, `unknown method ${path}`);
      }
    } catch (reason) {
      sendError(response, StatusError.from(reason), path);
    }
  }

  private page(page: PageHandler, query: string, request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== "GET") {
      sendText(response, 405, "Method Not Allowed", { allow: "GET" });
      return;
    }
    page(request, response, new URLSearchParams(query)).catch((reason) => {
      const error = StatusError.from(reason);
      this.deps.log.error({ err: error, url: request.url }, "a page could not be made");
      if (!response.headersSent) sendText(response, 500, error.message);
    });
  }
}

/** What is served, by HTTP path. */
async function loadEndpoints({
  observer = new CallObserver(),
  connections = new ConnectionStats(),
  maxReceiveBytes,
  highWaterBytes = HIGH_WATER_BYTES,
}: GatewayDeps): Promise<ReadonlyMap<string, Endpoint>> {
  const { loadMethods } = await import("./schema.js");
  const endpoints = new Map<string, Endpoint>();
  const deadlines = new Deadlines<CallState>();
  for (const method of loadMethods().values()) {
    endpoints.set(method.path, {
      method,
      stats: observer.stats.of(method.path, method.requestStream || method.responseStream),
      observer,
      connections,
      deadlines,
      messageBytes: maxReceiveBytes,
      textBytes: maxReceiveBytes * TEXT_FACTOR,
      highWaterBytes,
    });
  }
  return new Map([...routes].map(([http, grpc]) => [http, endpoints.get(grpc)!]));
}

/** Path and query of a request target. */
function split(target: string): [path: string, query: string] {
  // A proxy's client may send the whole URL.
  const local = target.startsWith("/") ? target : target.replace(/^[a-z]+:\/\/[^/?]*/i, "");
  const mark = local.indexOf("?");
  const path = mark < 0 ? local : local.slice(0, mark);
  const query = mark < 0 ? "" : local.slice(mark + 1);
  if (!path.includes("%")) return [path, query];
  try {
    return [decodeURIComponent(path), query];
  } catch {
    return [path, query];
  }
}
