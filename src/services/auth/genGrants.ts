import type { CallOptions, Shard } from "../../shard/shard.js";
import { Code, StatusError } from "../../status/error.js";
import { etcd } from "../../status/etcd.js";
import { isMarkKey } from "../../timeline/keys.js";
import {
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthRoleListResponse,
  EMPTY,
  type Permission,
} from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";

/*
 * Every write compares gen, the store's mark on the shard, and etcd checks compares against the permissions of the caller. So
 * each role with permissions also has the permission to read this key. Clients do not see it, and cannot revoke it.
 */

/** True for the permission that the proxies grant to roles by themselves. */
export const isGenGrant = ({ key, rangeEnd }: Pick<Permission, "key" | "rangeEnd">): boolean =>
  rangeEnd.length === 0 && isMarkKey(key);

/** A role that needs no permissions. */
const ROOT = "root";

/** The request that lets a role read gen. */
export const genGrantRequest = (role: string, key: Uint8Array): Uint8Array =>
  AuthRoleGrantPermissionRequest.encode({ name: role, perm: { permType: READ, key, rangeEnd: EMPTY } });

const READ = 0;

/** True for a role with this number of permissions that it must be allowed to read gen. */
export const needsGenGrant = (role: string, permissions: number): boolean => role !== ROOT && permissions > 0;

/** True if a role with these permissions is allowed to read gen. */
export const hasGenGrant = (permissions: readonly Permission[], key: Uint8Array): boolean =>
  permissions.some((one) => isGenGrant(one) && Buffer.compare(one.key, key) === 0);

/** Lets a role read gen on a shard, if it may not yet. Rejects with etcd's error if there is no such role. */
export async function grantGen(
  shard: Shard,
  role: string,
  key: Uint8Array,
  options: CallOptions,
): Promise<void> {
  if (role === ROOT) return;
  const { perm } = await permissionsOf(shard, role, options);
  if (!hasGenGrant(perm, key)) {
    await shard.call(Auth.RoleGrantPermission, genGrantRequest(role, key), options);
  }
}

/**
 * Lets all roles of a shard that need it read gen there. Resolves to the names of the roles that could not before. Rejects
 * with the shard's error, which names the role if it concerns one.
 */
export async function grantGenToRoles(
  shard: Shard,
  key: Uint8Array,
  options: CallOptions,
): Promise<readonly string[]> {
  const { roles } = AuthRoleListResponse.decode(await shard.call(Auth.RoleList, EMPTY, options));
  const granted: string[] = [];
  for (const role of roles) {
    try {
      const { perm } = await permissionsOf(shard, role, options);
      if (!needsGenGrant(role, perm.length) || hasGenGrant(perm, key)) continue;
      await shard.call(Auth.RoleGrantPermission, genGrantRequest(role, key), options);
      granted.push(role);
    } catch (reason) {
      const { code, message } = StatusError.from(reason);
      // It was deleted in the meantime.
      if (etcd.roleNotFound.is(reason)) continue;
      throw new StatusError(code, `role "${role}" cannot be allowed to read the shard's mark: ${message}`, {
        cause: reason,
      });
    }
  }
  return granted;
}

/** The error for a client that grants this permission itself: it could take away the right to read. */
export const reservedGrant = (): StatusError =>
  new StatusError(Code.INVALID_ARGUMENT, "etcd-braid: only the proxies grant permissions for a shard's mark");

async function permissionsOf(
  shard: Shard,
  role: string,
  options: CallOptions,
): Promise<{ perm: Permission[] }> {
  return AuthRoleGetResponse.decode(
    await shard.call(Auth.RoleGet, AuthRoleGetRequest.encode({ role }), options),
  );
}
