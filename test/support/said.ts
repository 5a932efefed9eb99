import { StatusError } from "../../src/status/error.js";

/**
 * The error with what the server itself said, for tests that call a proxy over the shards' own connection: that takes an
 * UNAVAILABLE for a lost connection, and keeps the text for its log.
 */
export function said(error: StatusError): StatusError {
  const [, text] = /^\S+: (.*)$/s.exec(error.detail ?? "") ?? [];
  if (text === undefined || !error.message.includes("connection lost")) return error;
  return new StatusError(error.code, text, { cause: error });
}
