import { formatHostPort, isWildcard, parseHostPort } from "../config/address.js";
import { readSecret } from "../config/secrets.js";
import type { Config } from "../config/types.js";
import { figuresOf } from "../console/figures.js";
import { overviewOf } from "../console/overview.js";
import type { Overview, SessionReport } from "../console/report.js";
import { Samples } from "../console/samples.js";
import { version } from "../ops/package.js";
import { CommandError, Exit } from "./exit.js";

/** How long the proxy may take to respond, in milliseconds. */
const RESPONSE_TIMEOUT_MS = 10_000;

/** Where overviews come from. */
export interface TopSource {
  /** `host:port`. */
  readonly address: string;
  /** How the overview could show more; undefined if it shows everything. */
  readonly hint: string | undefined;
  /** Rejects with `CommandError`. */
  read(): Promise<Overview>;
}

const HOW_TO =
  "`console: { enabled: true }` and `metrics: { listen: 127.0.0.1:2381 }` in the proxy's configuration turn it on";

/** Opens the console of a proxy, or its metrics if it has no console. `user` is `name:password`. */
export async function openTopSource(
  config: Config,
  endpoint: string | undefined,
  user: string | undefined,
): Promise<TopSource> {
  const listen = endpoint ?? config.metrics.listen;
  if (listen === undefined) throw new CommandError(Exit.usage, `the proxy has no console: ${HOW_TO}`);
  const { host, port } = parseHostPort(listen);
  if (port === 0) throw new CommandError(Exit.usage, "the system chooses the port: give it with --endpoint");
  const address = formatHostPort({ host: isWildcard(host) ? loopback(host) : host, port });
  const session = await get(address, "/console/api/session", undefined);
  if (session.status === 404) return metricsSource(address);
  const { mode, isSignedIn }: SessionReport = await jsonOf(session, address);
  const enter = () => login(address, mode, config, user);
  let cookie = isSignedIn ? undefined : await enter();
  let since = 0;
  let known: Overview | undefined;
  return {
    address,
    hint: undefined,
    read: async () => {
      const path = `/console/api/overview?since=${since}`;
      let response = await get(address, path, cookie);
      // The session is over, or the proxy has started again.
      if (response.status === 401) {
        cookie = await enter();
        response = await get(address, path, cookie);
      }
      const overview: Overview = await jsonOf(response, address);
      const history = known === undefined ? overview.history : joined(known.history, overview.history);
      since = history.at.at(-1) ?? 0;
      known = { ...overview, history };
      return known;
    },
  };
}

/** Reads the numbers from the metrics. Rates need two scrapes, so the first read has none. */
function metricsSource(address: string): TopSource {
  const samples = new Samples();
  const around = {
    store: undefined,
    host: undefined,
    members: new Map(),
    alarms: new Map(),
    withAddresses: false,
    version,
  };
  return {
    address,
    hint: `From the metrics: the proxy has no console, which also shows its members and alarms. ${HOW_TO}.`,
    read: async () => {
      const response = await get(address, "/metrics", undefined);
      if (!response.ok) throw new CommandError(Exit.failure, `${address}: HTTP status ${response.status}`);
      samples.add(figuresOf(await response.text(), Date.now()));
      return overviewOf(samples, around, 0);
    },
  };
}

/** Returns the cookie of a session. By default with the password or the user that the configuration has. */
async function login(
  address: string,
  mode: SessionReport["mode"],
  { console, auth }: Config,
  given: string | undefined,
): Promise<string> {
  const separator = given?.indexOf(":") ?? -1;
  let [user, password] = ["", ""];
  if (given !== undefined && separator >= 0) {
    user = given.slice(0, separator);
    password = given.slice(separator + 1);
  } else {
    const secret = mode === "password" ? console.password : auth.own?.password;
    if (given !== undefined || secret === undefined) {
      const text = mode === "password" ? "the console's password (--user :PASSWORD)" : "--user NAME:PASSWORD";
      throw new CommandError(Exit.usage, `the console at ${address} needs a login: give ${text}`);
    }
    user = mode === "user" ? (auth.own?.user ?? "") : "";
    try {
      password = readSecret(secret);
    } catch (reason) {
      throw new CommandError(Exit.failure, `the password cannot be read: ${(reason as Error).message}`);
    }
  }
  const response = await send(address, "/console/api/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user, password }),
  });
  await jsonOf(response, address);
  const [cookie] = response.headers.getSetCookie();
  return cookie?.split(";")[0] ?? "";
}

const get = (address: string, path: string, cookie: string | undefined): Promise<Response> =>
  send(address, path, { headers: cookie === undefined ? {} : { cookie } });

async function send(address: string, path: string, options: RequestInit): Promise<Response> {
  const signal = AbortSignal.timeout(RESPONSE_TIMEOUT_MS);
  try {
    return await fetch(`http://${address}${path}`, { ...options, signal, redirect: "error" });
  } catch (reason) {
    const { cause, message } = reason as Error;
    const text = signal.aborted
      ? `no response within ${RESPONSE_TIMEOUT_MS / 1_000} s`
      : cause instanceof Error
        ? cause.message
        : message;
    throw new CommandError(Exit.failure, `the proxy at ${address}: ${text}`);
  }
}

async function jsonOf<T>(response: Response, address: string): Promise<T> {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body as T;
  const error = (body as { error?: string }).error ?? `HTTP status ${response.status}`;
  throw new CommandError(Exit.failure, `the console at ${address}: ${error}`);
}

const loopback = (host: string): string => (host.includes(":") ? "::1" : "127.0.0.1");

/** Only the times and the requests are drawn. */
function joined(old: Overview["history"], newer: Overview["history"]): Overview["history"] {
  const at = [...old.at, ...newer.at].slice(-450);
  const requests = [...old.requests, ...newer.requests].slice(-450);
  return { ...newer, at, requests };
}
