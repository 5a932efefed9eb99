import { once } from "node:events";
import { type ClientRequest, get as getHttp, type IncomingMessage } from "node:http";
import { get as getHttps } from "node:https";
import { formatHostPort, isWildcard, parseHostPort } from "../config/address.js";
import { loadConfig } from "../config/load.js";
import { CommandError, Exit } from "./exit.js";

/** How long the proxy may take to respond. */
const RESPONSE_TIMEOUT_MS = 3_000;

/** `braid health`: checks that the proxy with this configuration on this machine is alive. */
export async function health(configFile: string): Promise<number> {
  const { metrics, listen, tls } = loadConfig(configFile);
  const { host, port } = parseHostPort(metrics.listen ?? listen[0]!);
  if (port === 0)
    throw new CommandError(
      Exit.usage,
      "the system chooses the port (0 in the configuration), so it is not known",
    );
  const target = { host: reachable(host), port, path: "/livez", agent: false as const };
  const signal = AbortSignal.timeout(RESPONSE_TIMEOUT_MS);
  const address = formatHostPort(target);
  let status: number | undefined;
  try {
    // This checks the process, not whether clients trust its certificate.
    const request: ClientRequest =
      metrics.listen === undefined && tls !== undefined
        ? getHttps({ ...target, signal, rejectUnauthorized: false })
        : getHttp({ ...target, signal });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.resume();
    status = response.statusCode;
  } catch (error) {
    const reason = signal.aborted
      ? `no response within ${RESPONSE_TIMEOUT_MS / 1000} s`
      : (error as Error).message;
    throw new CommandError(Exit.failure, `the proxy at ${address}: ${reason}`);
  }
  if (status !== 200) throw new CommandError(Exit.failure, `the proxy at ${address}: HTTP status ${status}`);
  process.stdout.write(`The proxy at ${address} is alive.\n`);
  return Exit.ok;
}

/** The address to connect to for a server that listens on `host`. */
function reachable(host: string): string {
  if (!isWildcard(host)) return host;
  return host.includes(":") ? "::1" : "127.0.0.1";
}
