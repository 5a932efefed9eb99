import { once } from "node:events";
import { type ClientRequest, get as getHttp, type IncomingMessage } from "node:http";
import { get as getHttps } from "node:https";
import { formatHostPort, isWildcard, parseHostPort } from "../config/address.js";
import { loadConfig } from "../config/load.js";
import { CommandError, Exit } from "./exit.js";

/** Longest time that a proxy may take to answer, ms. */
const ANSWER_TIMEOUT_MS = 3_000;

/** `braid health`: asks the proxy that runs here with this configuration whether it is alive. */
export async function health(configFile: string): Promise<number> {
  const { metrics, listen, tls } = loadConfig(configFile);
  const { host, port } = parseHostPort(metrics.listen ?? listen[0]!);
  if (port === 0)
    throw new CommandError(Exit.usage, "the configuration leaves the choice of the port to the system");
  const target = { host: reachable(host), port, path: "/livez", agent: false as const };
  const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
  const address = formatHostPort(target);
  let status: number | undefined;
  try {
    // It is about the process, on this machine: whether clients trust its certificate is another question.
    const request: ClientRequest =
      metrics.listen === undefined && tls !== undefined
        ? getHttps({ ...target, signal, rejectUnauthorized: false })
        : getHttp({ ...target, signal });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.resume();
    status = response.statusCode;
  } catch (error) {
    const reason = signal.aborted
      ? `no answer within ${ANSWER_TIMEOUT_MS / 1000} s`
      : (error as Error).message;
    throw new CommandError(Exit.failure, `the proxy at ${address}: ${reason}`);
  }
  if (status !== 200) throw new CommandError(Exit.failure, `the proxy at ${address}: HTTP status ${status}`);
  process.stdout.write(`The proxy at ${address} is alive.\n`);
  return Exit.ok;
}

/** An address that reaches a server which listens on `host`. */
function reachable(host: string): string {
  if (!isWildcard(host)) return host;
  return host.includes(":") ? "::1" : "127.0.0.1";
}
