import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { isIP } from "node:net";
import type { Log } from "../ops/log.js";
import { version } from "../ops/package.js";
import { Limiter } from "../shard/limiter.js";
import { StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { httpStatus } from "../transport/gateway/responses.js";
import { KV } from "../wire/paths.js";
import { findAsset } from "./assets.js";
import { decodeBytes } from "./bytes.js";
import { Gate, type GateDeps, type Viewer } from "./gate.js";
import {
  checkOrigin,
  cookieHeader,
  readCookie,
  readFields,
  sendAsset,
  sendFailure,
  sendReport,
  sendText,
} from "./http.js";
import type { SessionReport } from "./report.js";
import { Reports, type Sources } from "./reports.js";
import { RequestError } from "./requestError.js";

export interface ConsoleOptions extends Omit<GateDeps, "now">, Sources {
  /** Host names that requests may have without a login, besides IP addresses and localhost. */
  readonly hosts: () => readonly string[];
  readonly log: Pick<Log, "info" | "warn" | "error">;
}

export interface Console {
  /** Serves all requests whose path is `/console` or begins with `/console/`. */
  readonly handle: RequestListener;
  stop(): void;
}

/** True for the paths of the console. */
export const isConsolePath = (url: string): boolean => /^\/console(?:[/?]|$)/.test(url);

/** Most reports in progress, and most that wait. */
const MAX_REPORTS = 16;
const MAX_WAITING_REPORTS = 64;

type Report = (viewer: Viewer, query: URLSearchParams) => Promise<unknown>;

/** Creates the console: a page that shows the store, and the JSON that it reads. Nothing here changes the store. */
export function createConsole(options: ConsoleOptions): Console {
  const { hosts, log } = options;
  const gate = new Gate({ ...options, now: () => performance.now() });
  const reports = new Reports(options);
  const limiter = new Limiter(MAX_REPORTS, MAX_WAITING_REPORTS);
  const pages: ReadonlyMap<string, Report> = new Map<string, Report>([
    ["overview", (viewer, query) => reports.overview(viewer, numberIn(query, "since") ?? 0)],
    [
      "keys",
      (viewer, query) => {
        const from = query.get("from");
        const prefix = decodeBytes(query.get("prefix") ?? "");
        return reports.keys(
          viewer,
          prefix,
          from === null ? undefined : decodeBytes(from),
          delimiterIn(query),
        );
      },
    ],
    ["readable", (viewer) => reports.readable(viewer)],
    ["key", (viewer, query) => reports.key(viewer, keyIn(query), query.get("whole") === "1")],
    ["versions", (viewer, query) => reports.versions(viewer, keyIn(query), revisionIn(query, "before"))],
    ["version", (viewer, query) => reports.version(viewer, keyIn(query), revisionIn(query, "revision"))],
    ["watches", (viewer) => reports.watches(viewer)],
    ["plan", (viewer) => reports.plans(viewer)],
    ["groups", (viewer) => reports.groups(viewer)],
  ]);

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = "", search] = (request.url ?? "").split("?", 2);
    if (path === "/console") {
      sendText(response, 308, "the console is at /console/", { location: "/console/" });
      return;
    }
    const name = path.slice("/console/".length);
    if (name.startsWith("api/"))
      await serveApi(name.slice("api/".length), new URLSearchParams(search), request, response);
    else serveAsset(name === "" ? "page.html" : name, request, response);
  }

  async function serveApi(
    name: string,
    query: URLSearchParams,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const isChange = name === "login" || name === "logout";
    allowOnly(isChange ? "POST" : "GET", request);
    checkOrigin(request);
    const token = readCookie(request);
    if (name === "login") {
      const { user, password } = await readFields(request, "user", "password");
      const client = addressOf(request);
      const began = await gate.login(user, password, client).catch((reason) => {
        // Without the name: a password may have been typed there.
        log.warn({ client, error: (reason as Error).message }, "login to the console failed");
        throw reason;
      });
      log.info({ user, client }, "login to the console");
      gate.logout(token);
      sendReport(response, {}, cookieHeader(began));
      return;
    }
    if (name === "logout") {
      gate.logout(token);
      sendReport(response, {}, cookieHeader(undefined));
      return;
    }
    const viewer = await gate.viewer(token);
    if ((await gate.mode()) === "open") checkHost(request, hosts());
    if (name === "session") {
      sendReport(response, await sessionOf(viewer));
      return;
    }
    const report = pages.get(name);
    if (report === undefined) throw new RequestError(404, "there is no such page");
    if (viewer === undefined) throw new RequestError(401, "log in first");
    sendReport(response, await limiter.run(() => report(viewer, query)));
  }

  async function sessionOf(viewer: Viewer | undefined): Promise<SessionReport> {
    return {
      version,
      mode: await gate.mode(),
      isSignedIn: viewer !== undefined,
      user: viewer?.user ?? null,
      isOperator: (await viewer?.isOperator()) ?? false,
    };
  }

  return {
    handle: (request, response) => {
      serve(request, response).catch((reason: unknown) => {
        // The client may have gone while its body was read.
        if (response.headersSent || response.destroyed) response.destroy();
        else sendError(response, reason, log);
      });
    },
    stop: () => reports.stop(),
  };
}

function serveAsset(name: string, request: IncomingMessage, response: ServerResponse): void {
  const asset = findAsset(name);
  if (asset === undefined) throw new RequestError(404, "there is no such page");
  allowOnly("GET", request);
  sendAsset(request, response, asset);
}

function sendError(response: ServerResponse, reason: unknown, log: ConsoleOptions["log"]): void {
  if (reason instanceof RequestError) {
    sendFailure(response, reason.status, reason.message, reason.headers);
    return;
  }
  const error = StatusError.from(reason);
  // Then the user's token is not valid any more: a login helps.
  const isOut = etcd.invalidAuthToken.is(error) || etcd.userEmpty.is(error);
  const status = isOut ? 401 : httpStatus(error, KV.Range);
  if (status === 500) log.error({ err: error }, "a report of the console failed");
  sendFailure(response, status, error.message);
}

function allowOnly(method: string, request: IncomingMessage): void {
  if (request.method !== method)
    throw new RequestError(405, `only ${method} is allowed here`, { allow: method });
}

/**
 * Without a login, the page of any site could read the store through a name that it lets point to this proxy's address. So the
 * host has to be an address, which no site can let point elsewhere, or a name that the configuration allows.
 */
function checkHost({ headers: { host = "" } }: IncomingMessage, allowed: readonly string[]): void {
  const name = URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : "";
  const isAddress = isIP(name) !== 0 || /^\[.*\]$/.test(name);
  if (isAddress || name === "localhost" || allowed.includes(name) || allowed.includes("*")) return;
  throw new RequestError(
    421,
    `a console without a login does not serve the host name ${JSON.stringify(name)}: use an address, add the name to http.hosts, ` +
      "or give the console a password",
  );
}

const addressOf = ({ socket }: IncomingMessage): string => socket.remoteAddress ?? "";

function numberIn(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,16}$/.test(text)) throw new RequestError(400, `${name} must be a whole number`);
  return Number(text);
}

function revisionIn(query: URLSearchParams, name: string): number {
  const revision = numberIn(query, name);
  if (revision === undefined || revision < 1) throw new RequestError(400, `${name} must be a revision`);
  return revision;
}

function keyIn(query: URLSearchParams): Uint8Array {
  const key = decodeBytes(query.get("key") ?? "");
  if (key.length === 0) throw new RequestError(400, "a key must not be empty");
  return key;
}

function delimiterIn(query: URLSearchParams): number {
  const delimiter = decodeBytes(query.get("delimiter") ?? "Lw");
  if (delimiter.length !== 1) throw new RequestError(400, "the delimiter must be one byte");
  return delimiter[0]!;
}
