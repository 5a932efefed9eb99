import { Code, StatusError } from "../../status/error.js";

/** Longest name echoed in an error, in characters. */
const MAX_ECHOED = 200;

/** Error for an unknown method, with the text of etcd's gRPC server. `services` are the full names of the known ones. */
export function unknownMethod(path: string, services: ReadonlySet<string>): StatusError {
  const slash = path.lastIndexOf("/");
  const shown = (text: string): string =>
    text.length > MAX_ECHOED ? `${text.slice(0, MAX_ECHOED)}...` : text;
  if (slash < 1)
    return new StatusError(Code.UNIMPLEMENTED, `malformed method name: ${JSON.stringify(shown(path))}`);
  const service = path.slice(1, slash);
  const text = services.has(service)
    ? `unknown method ${shown(path.slice(slash + 1))} for service ${service}`
    : `unknown service ${shown(service)}`;
  return new StatusError(Code.UNIMPLEMENTED, text);
}
