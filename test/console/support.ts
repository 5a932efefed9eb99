import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request as startRequest } from "node:http";
import { freePort } from "../../src/dev/ports.js";

/** A response of the console. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  // biome-ignore lint/suspicious/noExplicitAny: each report has another type
  readonly json: any;
}

export interface Options {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Part of a proxy's configuration: a console on a free port. */
export async function consoleConfig(more: object = {}): Promise<{
  metrics: { listen: string };
  console: { enabled: boolean };
}> {
  return { metrics: { listen: `127.0.0.1:${await freePort()}` }, console: { enabled: true, ...more } };
}

export const base64url = (text: string | Uint8Array): string => Buffer.from(text).toString("base64url");
export const textOf = (encoded: string): string => Buffer.from(encoded, "base64url").toString();

/** A browser without a page: it keeps the cookie, and sends paths as they are given. */
export class Visitor {
  cookie: string | undefined;

  /** `host:port` of the console. */
  constructor(readonly address: string) {}

  async send(path: string, { method = "GET", headers = {}, body }: Options = {}): Promise<Answer> {
    const [host, port] = this.address.split(":");
    const request = startRequest({
      host,
      port,
      path,
      method,
      agent: false,
      headers: { ...(this.cookie !== undefined && { cookie: this.cookie }), ...headers },
    });
    request.end(body);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString("utf8");
    const isJson = response.headers["content-type"] === "application/json";
    const [set] = response.headers["set-cookie"] ?? [];
    if (set !== undefined) this.cookie = set.includes("Max-Age=0") ? undefined : set.split(";")[0];
    return {
      status: response.statusCode!,
      headers: response.headers,
      body: text,
      json: isJson ? JSON.parse(text) : undefined,
    };
  }

  /** Reads a report. */
  api(name: string, query: Readonly<Record<string, string | number>> = {}): Promise<Answer> {
    const search = new URLSearchParams(
      Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
    );
    return this.send(`/console/api/${name}?${search}`);
  }

  login(user: string, password: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.send("/console/api/login", {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ user, password }),
    });
  }
}
