import type { OutgoingHttpHeaders } from "node:http";

/** A request that the console refuses, with its HTTP status. Its text is for the user. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  constructor(
    readonly status: number,
    message: string,
    readonly headers: OutgoingHttpHeaders = {},
  ) {
    super(message);
  }
}
