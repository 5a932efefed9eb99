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
import type { Endpoint } from "./call.js";
import { createPages, type Page, type PageHandler } from "./pages.js";
import { sendError, sendText } from "./responses.js";
import { Rotation } from "./rotation.js";
import { isGatewayPath, routes } from "./routes.js";
import { HttpStream } from "./stream.js";
import { HttpUnary } from "./unary.js";

export interface GatewayDeps {
  /** The handlers that gRPC serves. */
  readonly handlers: Handlers;
  readonly probes: Probes;
  /** Additional pages for GET, by path, e.g. `/metrics`. */
  readonly extra?: ReadonlyMap<string, Page>;
  readonly access: Config["http"];
  /** Counts waiting bytes in both directions. */
  readonly connections?: ConnectionStats;
  /** Counts the calls and reports how they end. */
  readonly observer?: CallObserver;
  /** Largest request message, in protobuf bytes. Larger ones fail with RESOURCE_EXHAUSTED. */
  readonly maxReceiveBytes: number;
  /** Bytes queued for one stream above which `send` returns false. Default: `HIGH_WATER_BYTES`. */
  readonly highWaterBytes?: number;
  readonly log: Log;
}

export interface Gateway {
  /** Serves one HTTP/1.1 request of a `node:http` server. */
  readonly handle: RequestListener;
  /** Ends all streams, and every new one, with UNAVAILABLE. Unary calls go on. */
  stop(): void;
}

/** JSON bytes allowed per protobuf byte. Base64 takes 4/3; the rest is for names, white space and escapes. */
const TEXT_FACTOR = 2;

/**
 * Creates etcd's JSON gateway, with the pages that etcd serves beside it. It serves every method of `handlers` that has an
 * HTTP path, in etcd's JSON mapping. A client's mistake never gets a 5xx status.
 */
export function createGateway(deps: GatewayDeps): Gateway {
  return new JsonGateway(deps);
}

class JsonGateway implements Gateway {
  /** By HTTP path. Loaded by the first call, because many proxies never need them. */
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
      else if (this.endpoints !== undefined) this.call(this.endpoints.get(path), request, response);
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

  /** Loads the endpoints and then serves the call. */
  private callFirst(path: string, request: IncomingMessage, response: ServerResponse): void {
    this.loading ??= loadEndpoints(this.deps);
    this.loading.then(
      (endpoints) => {
        this.endpoints = endpoints;
        if (!response.destroyed) this.call(endpoints.get(path), request, response);
      },
      (reason) => {
        this.loading = undefined;
        sendError(response, StatusError.from(reason), path);
      },
    );
  }

  private call(endpoint: Endpoint | undefined, request: IncomingMessage, response: ServerResponse): void {
    if (endpoint === undefined) {
      sendText(response, 404, "Not Found");
      return;
    }
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

/** The endpoints by HTTP path. */
async function loadEndpoints({
  observer = new CallObserver(),
  connections = new ConnectionStats(),
  maxReceiveBytes,
  highWaterBytes = HIGH_WATER_BYTES,
}: GatewayDeps): Promise<ReadonlyMap<string, Endpoint>> {
  const { loadMethods } = await import("./schema.js");
  const endpoints = new Map<string, Endpoint>();
  const deadlines = new Deadlines<CallState>();
  const rotation = new Rotation();
  for (const method of loadMethods().values()) {
    endpoints.set(method.path, {
      method,
      stats: observer.stats.of(method.path, method.requestStream || method.responseStream),
      observer,
      connections,
      deadlines,
      rotation,
      messageBytes: maxReceiveBytes,
      textBytes: maxReceiveBytes * TEXT_FACTOR,
      highWaterBytes,
    });
  }
  const byRoute = new Map<string, Endpoint>();
  for (const [http, grpc] of routes) {
    const endpoint = endpoints.get(grpc);
    if (endpoint !== undefined) byRoute.set(http, endpoint);
  }
  return byRoute;
}

/** Splits a request target into path and query. */
function split(target: string): [path: string, query: string] {
  // Clients of an HTTP proxy send the whole URL.
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
