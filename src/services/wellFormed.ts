import type { Handlers } from "../rpc/call.js";
import { StatusError } from "../status/error.js";
import type { Codec } from "../wire/codec.js";
import { message } from "../wire/message.js";
import {
  AuthenticateRequest,
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGetRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
  AuthUserChangePasswordRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  MemberListRequest,
} from "../wire/messages.js";
import { Auth, Cluster, Lease, Maintenance } from "../wire/paths.js";

const NO_FIELDS = message({});

/** The requests of the methods whose handlers pass them on, look into them late, or not at all. */
const REQUESTS: readonly (readonly [path: string, request: Pick<Codec<unknown>, "decode">])[] = [
  [Auth.AuthEnable, NO_FIELDS],
  [Auth.AuthDisable, NO_FIELDS],
  [Auth.AuthStatus, NO_FIELDS],
  [Auth.Authenticate, AuthenticateRequest],
  [Auth.UserAdd, AuthUserAddRequest],
  [Auth.UserGet, AuthUserGetRequest],
  [Auth.UserList, NO_FIELDS],
  [Auth.UserDelete, AuthUserDeleteRequest],
  [Auth.UserChangePassword, AuthUserChangePasswordRequest],
  [Auth.UserGrantRole, AuthUserGrantRoleRequest],
  [Auth.UserRevokeRole, AuthUserRevokeRoleRequest],
  [Auth.RoleAdd, AuthRoleAddRequest],
  [Auth.RoleGet, AuthRoleGetRequest],
  [Auth.RoleList, NO_FIELDS],
  [Auth.RoleDelete, AuthRoleDeleteRequest],
  [Auth.RoleGrantPermission, AuthRoleGrantPermissionRequest],
  [Auth.RoleRevokePermission, AuthRoleRevokePermissionRequest],
  [Cluster.MemberList, MemberListRequest],
  [Lease.LeaseLeases, NO_FIELDS],
  [Maintenance.Status, NO_FIELDS],
  [Maintenance.Defragment, NO_FIELDS],
  [Maintenance.Hash, NO_FIELDS],
  [Maintenance.Snapshot, NO_FIELDS],
];

/**
 * The handlers, with malformed requests refused before any of them runs, as in etcd, which decodes first. Handlers that
 * decode their requests at once stay as they are.
 */
export function wellFormed({ unary, stream }: Handlers): Handlers {
  const checked = new Map(unary);
  for (const [path, codec] of REQUESTS) {
    const handler = unary.get(path)!;
    checked.set(path, (call, request, reply) => {
      try {
        codec.decode(request);
      } catch (reason) {
        return reply(StatusError.from(reason));
      }
      handler(call, request, reply);
    });
  }
  return { unary: checked, stream };
}
