import { Code, StatusError } from "../../status/error.js";

/** More of a name is not repeated to who made it up, characters. */
const SHOWN = 200;

/** What is answered for a method that is not there, in the words of etcd's gRPC server. `services`: those that are there. */
export function unknownMethod(path: string, services: ReadonlySet<string>): StatusError {
  const slash = path.lastIndexOf("/");
  const shown = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text);
  if (slash < 1)
    return new StatusError(Code.UNIMPLEMENTED, `malformed method name: ${JSON.stringify(shown(path))}`);
  const service = path.slice(1, slash);
  const text = services.has(service)
    ? `unknown method ${shown(path.slice(slash + 1))} for service ${service}`
    : `unknown service ${shown(service)}`;
  return new StatusError(Code.UNIMPLEMENTED, text);
}
