import { type IncomingHttpHeaders, request } from "node:http";

export interface Answer {
  readonly status: number;
  readonly type: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** True when the connection broke before the end of the response. */
  readonly cut: boolean;
}

export interface Asked {
  readonly method?: string;
  readonly path: string;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Lines to read before closing the connection. Default: all. */
  readonly lines?: number;
  /** How long the request may take. Default: 5 s. */
  readonly timeoutMs?: number;
}

/** Sends an HTTP request to `host:port`. Resolves with status 0 if no response arrives in time or the connection breaks. */
export function ask(endpoint: string, asked: Asked): Promise<Answer> {
  const {
    method = "POST",
    path,
    body = "",
    headers = {},
    lines = Number.POSITIVE_INFINITY,
    timeoutMs = 5_000,
  } = asked;
  const [host, port] = endpoint.split(":");
  return new Promise((resolve) => {
    const sent = request({ host, port, method, path, headers, signal: AbortSignal.timeout(timeoutMs) });
    sent.on("error", () => resolve({ status: 0, type: undefined, headers: {}, text: "", cut: true }));
    sent.on("response", (response) => {
      let text = "";
      const done = (cut: boolean) => {
        const { statusCode = 0, headers } = response;
        resolve({ status: statusCode, type: headers["content-type"], headers, text, cut });
        sent.destroy();
      };
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.split("\n").length > lines) done(false);
      });
      response.on("end", () => done(false));
      response.on("error", () => done(true));
    });
    sent.end(body);
  });
}

/** Base64 of a text. */
export function b64(text: string): string {
  return Buffer.from(text).toString("base64");
}
