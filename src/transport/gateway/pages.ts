import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log } from "../../ops/log.js";
import type { Probes, StoreVersions } from "../../services/probes.js";
import { StatusError } from "../../status/error.js";
import { sendJson, sendText } from "./answers.js";

/** A page whose content is made when it is asked for. */
export type Page = () => Promise<{ readonly contentType: string; readonly body: string }>;

/** Answers one GET. */
export type PageHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
) => Promise<void>;

type Check = (probes: Probes) => Promise<void>;

/** Nothing that is not in this process is asked: it answers, so it is alive. */
const alive: Check = async () => {};

const LIVE: Readonly<Record<string, Check>> = { serializable_read: alive };

const READY: Readonly<Record<string, Check>> = {
  data_corruption: async (probes) => {
    const corrupt = (await probes.alarms()).find(({ alarm }) => alarm === "CORRUPT");
    if (corrupt !== undefined) throw new Error(`alarm activated: CORRUPT on ${corrupt.where}`);
  },
  serializable_read: alive,
  // While one shard is down every proxy serves the others: a balancer that took all of them out would make it worse.
  linearizable_read: (probes) => probes.read(false),
  non_learner: alive,
};

/**
 * The pages beside the gateway, by path: what etcd serves at `/version`, `/health`, `/livez` and `/readyz`, and `extra`
 * ones. `/health` is strict, it wants every shard to answer; `/readyz` wants the timeline and one shard; `/livez`, and
 * `/health?serializable=true` but for alarms, want this process alone.
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
      const names = Object.keys(checks).filter((name) => !excluded.includes(name));
      return runChecks(probes, checks, names, response, query, log);
    });
    for (const name of Object.keys(checks)) {
      pages.set(`${root}/${name}`, (_request, response, query) =>
        runChecks(probes, checks, [name], response, query, log),
      );
    }
  }
  for (const [path, page] of extra) {
    const make = oncePerTurn(page);
    pages.set(path, async (_request, response) => {
      const { contentType, body } = await make();
      response.writeHead(200, { "content-type": contentType, "content-length": Buffer.byteLength(body) });
      response.end(body);
    });
  }
  return pages;
}

/** The same page for all that ask in one turn of the event loop, or while it is made. */
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
  // A cluster's version is that of its oldest member without the patch level.
  const etcdcluster = `${etcdserver.split(".").slice(0, 2).join(".")}.0`;
  const told = storage === undefined ? {} : { storage: storage || "unknown" };
  sendJson(response, 200, JSON.stringify({ etcdserver, etcdcluster, ...told }));
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
  checks: Readonly<Record<string, Check>>,
  names: readonly string[],
  response: ServerResponse,
  query: URLSearchParams,
  log: Log,
): Promise<void> {
  const results = await Promise.allSettled(names.map((name) => checks[name](probes)));
  const lines = results.map((result, i) => {
    if (result.status === "fulfilled") return `[+]${names[i]} ok\n`;
    return `[-]${names[i]} failed: ${StatusError.from(result.reason).message}\n`;
  });
  if (results.some(({ status }) => status === "rejected")) {
    log.warn({ checks: lines.join("").trim() }, "a readiness check failed");
    sendText(response, 503, lines.join(""));
    return;
  }
  sendText(response, 200, `${query.has("verbose") ? lines.join("") : ""}ok`);
}
