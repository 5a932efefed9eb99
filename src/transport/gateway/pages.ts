import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log } from "../../ops/log.js";
import type { Probes, StoreVersions } from "../../services/probes.js";
import { StatusError } from "../../status/error.js";
import { sendJson, sendText } from "./responses.js";

/** Generates the content of a page. */
export type Page = () => Promise<{ readonly contentType: string; readonly body: string }>;

/** Serves one GET. */
export type PageHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
) => Promise<void>;

type Check = (probes: Probes) => Promise<void>;
type NamedCheck = readonly [name: string, check: Check];

/** Queries nothing outside this process: if it responds, it is alive. */
const alive: Check = async () => {};

const LIVE: readonly NamedCheck[] = [["serializable_read", alive]];

const noCorruption: Check = async (probes) => {
  const corrupt = (await probes.alarms()).find(({ alarm }) => alarm === "CORRUPT");
  if (corrupt !== undefined) throw new Error(`alarm activated: CORRUPT on ${corrupt.where}`);
};

const READY: readonly NamedCheck[] = [
  ["data_corruption", noCorruption],
  ["serializable_read", alive],
  // While one shard is down, every proxy serves the others. A balancer that removed all proxies would make it worse.
  ["linearizable_read", (probes) => probes.read(false)],
  ["non_learner", alive],
];

/**
 * The pages beside the gateway, by path: etcd's `/version`, `/health`, `/livez` and `/readyz`, and the `extra` ones.
 * `/health` is strict: every shard must respond. `/readyz` requires the timeline and one shard. `/livez` depends on this
 * process only, and so does `/health?serializable=true` apart from alarms.
 */
export function createPages(
  probes: Probes,
  extra: ReadonlyMap<string, Page>,
  log: Log,
): ReadonlyMap<string, PageHandler> {
  const pages = new Map<string, PageHandler>();
  pages.set("/version", (_request, response) => version(probes, response));
  pages.set("/health", (_request, response, query) => health(probes, response, query, log));
  for (const [root, checks] of [["/livez", LIVE] as const, ["/readyz", READY] as const]) {
    pages.set(root, (_request, response, query) => {
      const excluded = query.getAll("exclude");
      const included = checks.filter(([name]) => !excluded.includes(name));
      return runChecks(probes, included, response, query, log);
    });
    for (const check of checks) {
      pages.set(`${root}/${check[0]}`, (_request, response, query) =>
        runChecks(probes, [check], response, query, log),
      );
    }
  }
  for (const [path, page] of extra) {
    const generate = oncePerTurn(page);
    pages.set(path, async (_request, response) => {
      const { contentType, body } = await generate();
      response.writeHead(200, { "content-type": contentType, "content-length": Buffer.byteLength(body) });
      response.end(body);
    });
  }
  return pages;
}

/** Generates a page once for all requests of one turn of the event loop, and for those that arrive meanwhile. */
function oncePerTurn(page: Page): Page {
  let made: ReturnType<Page> | undefined;
  const forget = () => {
    made = undefined;
  };
  return () => {
    if (made === undefined) {
      made = page();
      const later = () => setImmediate(forget);
      made.then(later, later);
    }
    return made;
  };
}

async function version(probes: Probes, response: ServerResponse): Promise<void> {
  let versions: StoreVersions;
  try {
    versions = await probes.versions();
  } catch (reason) {
    sendText(response, 503, StatusError.from(reason).message);
    return;
  }
  const { server: etcdserver, storage } = versions;
  // A cluster's version is its oldest member's, without the patch level.
  const etcdcluster = `${etcdserver.split(".").slice(0, 2).join(".")}.0`;
  const storageField = storage === undefined ? {} : { storage: storage || "unknown" };
  sendJson(response, 200, JSON.stringify({ etcdserver, etcdcluster, ...storageField }));
}

async function health(
  probes: Probes,
  response: ServerResponse,
  query: URLSearchParams,
  log: Log,
): Promise<void> {
  const excluded = query.getAll("exclude");
  const read = query.get("serializable") === "true" ? alive(probes) : probes.read(true);
  const readFailure = read.then(
    () => "",
    (error) => `RANGE ERROR:${StatusError.from(error).message}`,
  );
  const alarm = (await probes.alarms()).find(({ alarm }) => !excluded.includes(alarm));
  const reason = alarm === undefined ? await readFailure : `ALARM ${alarm.alarm} on ${alarm.where}`;
  const text = JSON.stringify({ health: String(reason === ""), reason });
  if (reason === "") {
    response.writeHead(200, {
      "content-type": "text/plain; charset=utf-8",
      "content-length": Buffer.byteLength(text),
    });
    response.end(text);
    return;
  }
  log.warn({ reason }, "the health check failed");
  sendText(response, 503, text);
}

async function runChecks(
  probes: Probes,
  checks: readonly NamedCheck[],
  response: ServerResponse,
  query: URLSearchParams,
  log: Log,
): Promise<void> {
  const failures = await Promise.all(
    checks.map(([, check]) =>
      check(probes).then(
        () => undefined,
        (reason) => StatusError.from(reason),
      ),
    ),
  );
  const lines = checks.map(([name], i) => {
    const failure = failures[i];
    return failure === undefined ? `[+]${name} ok\n` : `[-]${name} failed: ${failure.message}\n`;
  });
  const text = lines.join("");
  if (failures.some((failure) => failure !== undefined)) {
    log.warn({ checks: text.trim() }, "a readiness check failed");
    sendText(response, 503, text);
    return;
  }
  sendText(response, 200, `${query.has("verbose") ? text : ""}ok`);
}
