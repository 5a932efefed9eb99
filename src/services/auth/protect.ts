import { mayAdminister } from "../../auth/permission.js";
import type { ProxyCaller } from "../../auth/proxyCaller.js";
import type { Call } from "../../rpc/call.js";
import type { Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import {
  AuthRoleDeleteRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserRevokeRoleRequest,
} from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";

/**
 * Refuses changes that would lock the proxies out, now or once authentication is turned on. Their user has to stay, with the
 * role root and with the configured password. A client without permission for the change gets the shards' refusal.
 */
export async function protectOwnUser(
  own: ProxyCaller,
  shards: readonly Shard[],
  call: Call,
  path: string,
  request: Uint8Array,
): Promise<void> {
  const harm = harmOf(own, path, request);
  if (harm === undefined) return;
  await mayAdminister(shards, call);
  throw harm;
}

const ROOT = "root";
const ANOTHER = "give all of them another one first (auth in shards.yaml)";

function harmOf(own: ProxyCaller, path: string, request: Uint8Array): StatusError | undefined {
  switch (path) {
    case Auth.UserDelete: {
      const { name } = AuthUserDeleteRequest.decode(request);
      return own.isOwn(name) ? ofUser(name, ANOTHER) : undefined;
    }
    case Auth.UserRevokeRole: {
      const { name, role } = AuthUserRevokeRoleRequest.decode(request);
      return own.isOwn(name) && role === ROOT ? ofUser(name, ANOTHER) : undefined;
    }
    case Auth.UserAdd:
      return ofPassword(own, AuthUserAddRequest.decode(request));
    case Auth.UserChangePassword:
      return ofPassword(own, AuthUserChangePasswordRequest.decode(request));
    case Auth.RoleDelete: {
      if (AuthRoleDeleteRequest.decode(request).role !== ROOT) return undefined;
      // While authentication is on, etcd itself refuses this.
      return own.isGuarded ? etcd.invalidAuthManagement() : lockedOut("their own user needs the role root");
    }
    default:
      return undefined;
  }
}

/** A hashed password cannot be compared with the configured one, so it is refused. */
function ofPassword(
  own: ProxyCaller,
  { name, password, hashedPassword }: { name: string; password: string; hashedPassword: string },
): StatusError | undefined {
  if (!own.isOwn(name) || (hashedPassword === "" && own.isPassword(name, password))) return undefined;
  return ofUser(
    name,
    `and they are configured with another password: ${ANOTHER}, or write the new password to their passwordFile`,
  );
}

function ofUser(user: string, advice: string): StatusError {
  return lockedOut(`"${user}" is their own user, ${advice}`);
}

function lockedOut(reason: string): StatusError {
  return new StatusError(Code.FAILED_PRECONDITION, `etcd-braid: the proxies would be locked out: ${reason}`);
}
