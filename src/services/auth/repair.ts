import { randomBytes } from "node:crypto";
import {
  AuthRoleAddRequest,
  AuthRoleDeleteRequest,
  AuthRoleGrantPermissionRequest,
  AuthRoleRevokePermissionRequest,
  AuthUserAddRequest,
  AuthUserDeleteRequest,
  AuthUserGrantRoleRequest,
  AuthUserRevokeRoleRequest,
  EMPTY,
  type Permission,
} from "../../wire/messages.js";
import { Auth } from "../../wire/paths.js";
import { genGrantRequest, needsGenGrant } from "./genGrants.js";
import type { Users } from "./users.js";

/** One call that makes a shard more like another one. */
export interface Step {
  /** What it does, without secrets. */
  readonly text: string;
  readonly path: string;
  readonly request: Uint8Array;
}

const KINDS = ["read", "write", "readwrite"];

/**
 * The steps that make a shard's users, roles and grants those of `source`, in an order that etcd accepts, and allow its roles
 * to write. Passwords cannot
 * be read, so a missing user gets a random one, and can log in again when its password is changed through a proxy.
 */
export function repairSteps(source: Users, target: Users): Step[] {
  const steps: Step[] = [];
  const step = (text: string, path: string, request: Uint8Array) => steps.push({ text, path, request });
  // Turned off first, so that the changes need no permission. Turned on last.
  if (target.enabled && !source.enabled) step("turn authentication off", Auth.AuthDisable, EMPTY);
  for (const [role, wanted] of source.roles) {
    if (!target.roles.has(role))
      step(`add role ${role}`, Auth.RoleAdd, AuthRoleAddRequest.encode({ name: role }));
    const there = target.roles.get(role) ?? new Map<string, Permission>();
    for (const [range, { key, rangeEnd }] of there) {
      if (wanted.has(range)) continue;
      const request = AuthRoleRevokePermissionRequest.encode({ role, key, rangeEnd });
      step(`revoke ${range} from role ${role}`, Auth.RoleRevokePermission, request);
    }
    if (target.genKey !== undefined && needsGenGrant(role, wanted.size) && !target.readGen.has(role)) {
      const request = genGrantRequest(role, target.genKey);
      step(`let role ${role} read the shard's mark, as all writes do`, Auth.RoleGrantPermission, request);
    }
    for (const [range, perm] of wanted) {
      if (there.get(range)?.permType === perm.permType) continue;
      const request = AuthRoleGrantPermissionRequest.encode({ name: role, perm });
      const kind = KINDS[perm.permType] ?? perm.permType;
      step(`grant ${kind} on ${range} to role ${role}`, Auth.RoleGrantPermission, request);
    }
  }
  for (const [name, wanted] of source.users) {
    if (!target.users.has(name)) {
      const password = randomBytes(24).toString("base64url");
      const text = `add user ${name}, with a random password`;
      step(text, Auth.UserAdd, AuthUserAddRequest.encode({ name, password }));
    }
    const there = target.users.get(name) ?? [];
    for (const role of wanted.filter((role) => !there.includes(role))) {
      const request = AuthUserGrantRoleRequest.encode({ user: name, role });
      step(`grant role ${role} to user ${name}`, Auth.UserGrantRole, request);
    }
    // A role that is deleted below takes its grants with it.
    const stays = (role: string) => source.roles.has(role) || !target.roles.has(role);
    for (const role of there.filter((role) => !wanted.includes(role) && stays(role))) {
      const request = AuthUserRevokeRoleRequest.encode({ name, role });
      step(`revoke role ${role} from user ${name}`, Auth.UserRevokeRole, request);
    }
  }
  for (const name of target.users.keys()) {
    if (source.users.has(name)) continue;
    step(`delete user ${name}`, Auth.UserDelete, AuthUserDeleteRequest.encode({ name }));
  }
  // etcd also revokes a deleted role from its users.
  for (const role of target.roles.keys()) {
    if (source.roles.has(role)) continue;
    step(`delete role ${role}`, Auth.RoleDelete, AuthRoleDeleteRequest.encode({ role }));
  }
  if (source.enabled && !target.enabled) step("turn authentication on", Auth.AuthEnable, EMPTY);
  return steps;
}
