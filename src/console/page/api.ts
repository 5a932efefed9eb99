/** An error of the server, or of the way to it (status 0). */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export type Query = Readonly<Record<string, string | number | undefined>>;

/** Called when the server says that one has to log in. */
let signedOut = () => {};

export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** Reads a report. Rejects with `ApiError`. */
export function read<T>(name: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  const text = search.toString();
  return request(`api/${name}${text === "" ? "" : `?${text}`}`, signal === undefined ? {} : { signal });
}

/** Sends a login or logout. Rejects with `ApiError`. */
export const post = (name: "login" | "logout", body: object = {}): Promise<unknown> =>
  request(`api/${name}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

async function request<T>(url: string, options: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, { ...options, credentials: "same-origin", cache: "no-store" });
  } catch (reason) {
    if ((reason as Error).name === "AbortError") throw reason;
    throw new ApiError(0, "the proxy does not respond");
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body as T;
  if (response.status === 401 && url !== "api/login") signedOut();
  throw new ApiError(response.status, body.error ?? `HTTP status ${response.status}`);
}
