import type { UnaryHandler } from "../server/transport.js";
import { Code, StatusError } from "../status/error.js";
import { Election, Lock } from "../wire/paths.js";

const RECIPES =
  "clients have the same on top of KV, Lease and Watch: etcdctl lock and elect, clientv3's concurrency package";

/** Lock and Election, which are not there yet: UNIMPLEMENTED with a text that helps. */
export function unimplementedHandlers(): Map<string, UnaryHandler> {
  const handlers = new Map<string, UnaryHandler>();
  for (const path of [...Object.values(Lock), ...Object.values(Election)]) {
    handlers.set(path, notHere(path, RECIPES));
  }
  return handlers;
}

/** A handler that answers UNIMPLEMENTED and says what to do instead. */
export function notHere(path: string, advice: string): UnaryHandler {
  const [service, method] = path.slice(1).split("/");
  const name = `${service?.split(".").at(-1)}/${method}`;
  const text = `etcd-braid: ${name} is not available yet; ${advice}`;
  return (_call, _request, reply) => reply(new StatusError(Code.UNIMPLEMENTED, text));
}
