import type { Shard } from "../../shard/shard.js";
import {
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthRoleListResponse,
  AuthUserGetRequest,
  AuthUserGetResponse,
  AuthUserListResponse,
  EMPTY,
  type Permission,
} from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";
import { hasGenGrant, isGenGrant } from "./genGrants.js";
import { isEnabled } from "./query.js";

/** Users and roles of one shard. Passwords cannot be read. */
export interface Users {
  readonly enabled: boolean;
  /** User → its roles. */
  readonly users: ReadonlyMap<string, readonly string[]>;
  /** Role → `rangeName` → permission. Without the proxies' own grants. */
  readonly roles: ReadonlyMap<string, ReadonlyMap<string, Permission>>;
  /** The key that all writes on the shard compare; undefined if it is unknown. */
  readonly genKey: Uint8Array | undefined;
  /** Roles that may read `genKey`. */
  readonly readGen: ReadonlySet<string>;
}

const READ = { idempotent: true } as const;

/** Reads a shard's users and roles, as the proxy itself. `genKey` is the key that all writes compare, if there is one. */
export async function readUsers(shard: Shard, genKey?: Uint8Array): Promise<Users> {
  const enabled = await isEnabled(shard);
  const { users: names } = AuthUserListResponse.decode(await shard.call(Auth.UserList, EMPTY, READ));
  const users = new Map<string, readonly string[]>();
  for (const name of names) {
    const request = AuthUserGetRequest.encode({ name });
    users.set(name, AuthUserGetResponse.decode(await shard.call(Auth.UserGet, request, READ)).roles);
  }
  const listed = AuthRoleListResponse.decode(await shard.call(Auth.RoleList, EMPTY, READ));
  const roles = new Map<string, ReadonlyMap<string, Permission>>();
  const readGen = new Set<string>();
  for (const role of listed.roles) {
    const response = await shard.call(Auth.RoleGet, AuthRoleGetRequest.encode({ role }), READ);
    const { perm } = AuthRoleGetResponse.decode(response);
    const visible = perm.filter((one) => !isGenGrant(one));
    roles.set(role, new Map(visible.map((one) => [rangeName(one), one])));
    if (genKey !== undefined && hasGenGrant(perm, genKey)) readGen.add(role);
  }
  return { enabled, users, roles, genKey, readGen };
}

/** A key or range as text, `"/a"` or `["/a", "/b")`. Distinct ranges have distinct names. */
export function rangeName({ key, rangeEnd }: Pick<Permission, "key" | "rangeEnd">): string {
  if (rangeEnd.length === 0) return quoted(key);
  const end = rangeEnd.length === 1 && rangeEnd[0] === 0 ? "end" : quoted(rangeEnd);
  return `[${quoted(key)}, ${end})`;
}

function quoted(bytes: Uint8Array): string {
  return JSON.stringify(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1"));
}
