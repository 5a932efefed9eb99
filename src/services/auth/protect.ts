import type { OwnCaller } from "../../auth/own.js";
import { Code, StatusError } from "../../status/error.js";
import {
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserRevokeRoleRequest,
} from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";

/**
 * Refuses what would lock the proxies out of shards that have authentication on. The password of their user can be
 * changed only to the one that the proxy is configured with by then, as it can be where that is in a file.
 */
export function protectOwnUser(own: OwnCaller, path: string, request: Uint8Array): void {
  const harm = harmOf(own, path, request);
  if (harm === undefined || !own.isGuarded) return;
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    `etcd-braid: the proxies would be locked out: "${harm.user}" is their own user, ${harm.advice}`,
  );
}

const ANOTHER = "give all of them another one first (auth in shards.yaml)";

function harmOf(
  own: OwnCaller,
  path: string,
  request: Uint8Array,
): { user: string; advice: string } | undefined {
  switch (path) {
    case Auth.UserDelete: {
      const { name } = AuthUserDeleteRequest.decode(request);
      return own.isOwn(name) ? { user: name, advice: ANOTHER } : undefined;
    }
    case Auth.UserRevokeRole: {
      const { name, role } = AuthUserRevokeRoleRequest.decode(request);
      return own.isOwn(name) && role === "root" ? { user: name, advice: ANOTHER } : undefined;
    }
    case Auth.UserChangePassword: {
      const { name, password } = AuthUserChangePasswordRequest.decode(request);
      if (!own.isOwn(name) || own.isPassword(name, password)) return undefined;
      const advice = `and they are configured with another password: ${ANOTHER}, or write the new password to their passwordFile`;
      return { user: name, advice };
    }
    default:
      return undefined;
  }
}
