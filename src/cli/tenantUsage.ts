import { readFileSync } from "node:fs";
import { get as getHttp, type IncomingMessage } from "node:http";
import { get as getHttps } from "node:https";
import type { Config } from "../config/types.js";
import { localEndpoint, type ProxyOptions } from "./proxyClient.js";

const TIMEOUT_MS = 3_000;

/** What a tenant uses, by a short name: the values of its metrics at one proxy. */
export type TenantUsage = Readonly<Record<string, number>>;

/** Reads a tenant's metrics. Resolves to undefined if the proxy does not respond, or does not know the tenant. */
export async function readUsage(
  config: Config,
  options: ProxyOptions,
  tenant: string,
): Promise<TenantUsage | undefined> {
  const { metrics } = config;
  const endpoint = options.endpoint ?? metrics.listen ?? localEndpoint(config);
  const url = `${endpoint.includes("://") ? endpoint : `http://${endpoint}`}/metrics`;
  const text = await read(url, options).catch(() => undefined);
  if (text === undefined) return undefined;
  const usage = usageIn(text, tenant);
  return Object.keys(usage).length > 0 ? usage : undefined;
}

/** `braid_tenant_operations_total{tenant="shop",operation="put"} 5` as `operations put: 5`. */
function usageIn(text: string, tenant: string): TenantUsage {
  const usage: Record<string, number> = {};
  for (const line of text.split("\n")) {
    const [, metric, labels = "", value] = /^braid_tenant_(\w+?)(?:_total)?\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (metric === undefined) continue;
    const named = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, text]) => [label!, text!] as const);
    if (!named.some(([label, text]) => label === "tenant" && text === tenant)) continue;
    const others = named.flatMap(([label, text]) => (label === "tenant" ? [] : [text]));
    usage[[metric, ...others].join(" ")] = Number(value);
  }
  return usage;
}

function read(url: string, { cacert, cert, key }: ProxyOptions): Promise<string> {
  const pem = (file: string | undefined) => file && readFileSync(file);
  const tls = { ca: pem(cacert), cert: pem(cert), key: pem(key) };
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (piece: string) => {
        text += piece;
      });
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`HTTP status ${response.statusCode}`));
      });
    };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const request = url.startsWith("https:")
      ? getHttps(url, { agent: false, signal, ...tls }, take)
      : getHttp(url, { agent: false, signal }, take);
    request.on("error", reject);
  });
}
