import type { UnaryHandler } from "../server/transport.js";
import { Code, StatusError } from "../status/error.js";
import { etcd } from "../status/etcd.js";
import { Auth, Election, Lock } from "../wire/paths.js";
import type { Identity } from "./identity.js";

const AUTH = "the store is open to whoever reaches the proxy";
const RECIPES =
  "clients have the same on top of KV, Lease and Watch: etcdctl lock and elect, clientv3's concurrency package";

/**
 * Auth, Lock and Election, which are not there yet: UNIMPLEMENTED with a text that helps. Where an etcd
 * without authentication has an answer that clients go on with, it is given instead: `Authenticate` fails
 * with etcd's "not enabled" (clientv3 with a user name then connects without), `AuthStatus` says disabled.
 */
export function unimplementedHandlers(identity: Identity): Map<string, UnaryHandler> {
  const handlers = new Map<string, UnaryHandler>();
  for (const path of Object.values(Auth)) handlers.set(path, notHere(path, AUTH));
  for (const path of [...Object.values(Lock), ...Object.values(Election)]) {
    handlers.set(path, notHere(path, RECIPES));
  }
  handlers.set(Auth.Authenticate, (_call, _request, reply) => reply(etcd.authNotEnabled()));
  // AuthStatusResponse with nothing but a header: enabled is false.
  handlers.set(Auth.AuthStatus, (_call, _request, reply) => reply(undefined, identity.header(0)));
  return handlers;
}

/** A handler that answers UNIMPLEMENTED and says what to do instead. */
export function notHere(path: string, advice: string): UnaryHandler {
  const [service, method] = path.slice(1).split("/");
  const name = `${service?.split(".").at(-1)}/${method}`;
  const text = `etcd-braid: ${name} is not available yet; ${advice}`;
  return (_call, _request, reply) => reply(new StatusError(Code.UNIMPLEMENTED, text));
}
