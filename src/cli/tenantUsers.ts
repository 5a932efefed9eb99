import { prefixEnd } from "../routing/bytes.js";
import { etcd } from "../status/etcd.js";
import { TO_LAST_KEY } from "../wire/keyRange.js";
import {
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleGrantPermissionRequest,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGetRequest,
  AuthUserGetResponse,
  AuthUserGrantRoleRequest,
  type Permission,
} from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import type { ProxyClient } from "./proxyClient.js";

/** `Permission.permType` of etcd for reading and writing. */
const READ_WRITE = 2;

/** One change of the store's users, for people and for the proxy. */
export interface UserChange {
  readonly text: string;
  readonly path: string;
  readonly request: Uint8Array;
}

/** What is missing so that user `name`, with the role of that name, may read and write below `prefix`. */
export async function missingUser(
  proxy: ProxyClient,
  name: string,
  prefix: Uint8Array,
  password: () => string,
): Promise<UserChange[]> {
  const changes: UserChange[] = [];
  const role = await permissionsOf(proxy, name);
  const rangeEnd = prefixEnd(prefix) ?? TO_LAST_KEY;
  if (role === undefined)
    changes.push({
      text: `add role ${name}`,
      path: Auth.RoleAdd,
      request: AuthRoleAddRequest.encode({ name }),
    });
  const isGranted = role?.some((perm) => perm.permType === READ_WRITE && isBelow(perm, prefix));
  if (!isGranted)
    changes.push({
      text: `grant role ${name} to read and write below its prefix`,
      path: Auth.RoleGrantPermission,
      request: AuthRoleGrantPermissionRequest.encode({
        name,
        perm: { permType: READ_WRITE, key: prefix, rangeEnd },
      }),
    });
  const roles = await rolesOf(proxy, name);
  if (roles === undefined)
    changes.push({
      text: `add user ${name}`,
      path: Auth.UserAdd,
      request: AuthUserAddRequest.encode({ name, password: password() }),
    });
  if (!roles?.includes(name))
    changes.push({
      text: `grant role ${name} to user ${name}`,
      path: Auth.UserGrantRole,
      request: AuthUserGrantRoleRequest.encode({ user: name, role: name }),
    });
  return changes;
}

/** Number of permissions that a role has besides those below its prefix; 0 if there is no such role. */
export async function otherPermissions(
  proxy: ProxyClient,
  role: string,
  prefix: Uint8Array,
): Promise<number> {
  const perms = (await permissionsOf(proxy, role)) ?? [];
  return perms.filter((perm) => !isBelow(perm, prefix)).length;
}

/** Whether a permission is for all keys that begin with the prefix. */
const isBelow = ({ key, rangeEnd }: Permission, prefix: Uint8Array): boolean =>
  isEqual(key, prefix) && isEqual(rangeEnd, prefixEnd(prefix) ?? TO_LAST_KEY);

/** How to remove user `name` and the role of that name, as far as there are any. The user first, so that it never has no role. */
export async function presentUser(proxy: ProxyClient, name: string): Promise<UserChange[]> {
  const [role, roles] = [await permissionsOf(proxy, name), await rolesOf(proxy, name)];
  const changes: UserChange[] = [];
  if (roles !== undefined)
    changes.push({
      text: `remove user ${name}`,
      path: Auth.UserDelete,
      request: AuthUserDeleteRequest.encode({ name }),
    });
  if (role !== undefined)
    changes.push({
      text: `remove role ${name}`,
      path: Auth.RoleDelete,
      request: AuthRoleDeleteRequest.encode({ role: name }),
    });
  return changes;
}

export async function permissionsOf(proxy: ProxyClient, role: string) {
  const response = await orNothing(
    proxy.call(Auth.RoleGet, AuthRoleGetRequest.encode({ role })),
    etcd.roleNotFound,
  );
  return response && AuthRoleGetResponse.decode(response).perm;
}

/** The roles of a user; undefined if there is no such user. */
export async function rolesOf(proxy: ProxyClient, name: string): Promise<readonly string[] | undefined> {
  const response = await orNothing(
    proxy.call(Auth.UserGet, AuthUserGetRequest.encode({ name })),
    etcd.userNotFound,
  );
  return response && AuthUserGetResponse.decode(response).roles;
}

async function orNothing(
  call: Promise<Uint8Array>,
  nothing: { is(reason: unknown): boolean },
): Promise<Uint8Array | undefined> {
  try {
    return await call;
  } catch (error) {
    if (nothing.is(error)) return undefined;
    throw error;
  }
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
