import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** What a role may do to a key or range of keys. */
export const Permission = message({
  /** 0: read, 1: write, 2: both. */
  permType: field.enum(1),
  key: field.data(2),
  /** By etcd's rules for ranges; empty for the one key. */
  rangeEnd: field.data(3),
});
export type Permission = MessageOf<typeof Permission>;

/** Asks for a token. */
export const AuthenticateRequest = message({ name: field.text(1), password: field.text(2) });
export type AuthenticateRequest = MessageOf<typeof AuthenticateRequest>;

export const AuthenticateResponse = message({ header, token: field.text(2) });
export type AuthenticateResponse = MessageOf<typeof AuthenticateResponse>;

/** Whether authentication is on. */
export const AuthStatusResponse = message({
  header,
  enabled: field.bool(2),
  /** Grows with every change of users and roles. */
  authRevision: field.uint64(3),
});
export type AuthStatusResponse = MessageOf<typeof AuthStatusResponse>;

export const UserAddOptions = message({
  /** A user who can only come by a client certificate. */
  noPassword: field.bool(1),
});
export type UserAddOptions = MessageOf<typeof UserAddOptions>;

/** Adds a user. */
export const AuthUserAddRequest = message({
  name: field.text(1),
  password: field.text(2),
  options: field.message(3, UserAddOptions),
  /** etcd 3.5: what bcrypt makes of the password, base64, instead of it. */
  hashedPassword: field.text(4),
});
export type AuthUserAddRequest = MessageOf<typeof AuthUserAddRequest>;

/** Asks for the roles of a user. */
export const AuthUserGetRequest = message({ name: field.text(1) });
export type AuthUserGetRequest = MessageOf<typeof AuthUserGetRequest>;

export const AuthUserGetResponse = message({ header, roles: field.texts(2) });
export type AuthUserGetResponse = MessageOf<typeof AuthUserGetResponse>;

export const AuthUserListResponse = message({ header, users: field.texts(2) });
export type AuthUserListResponse = MessageOf<typeof AuthUserListResponse>;

export const AuthUserDeleteRequest = message({ name: field.text(1) });
export type AuthUserDeleteRequest = MessageOf<typeof AuthUserDeleteRequest>;

export const AuthUserChangePasswordRequest = message({
  name: field.text(1),
  password: field.text(2),
  /** As in `AuthUserAddRequest`. */
  hashedPassword: field.text(3),
});
export type AuthUserChangePasswordRequest = MessageOf<typeof AuthUserChangePasswordRequest>;

export const AuthUserGrantRoleRequest = message({ user: field.text(1), role: field.text(2) });
export type AuthUserGrantRoleRequest = MessageOf<typeof AuthUserGrantRoleRequest>;

export const AuthUserRevokeRoleRequest = message({ name: field.text(1), role: field.text(2) });
export type AuthUserRevokeRoleRequest = MessageOf<typeof AuthUserRevokeRoleRequest>;

export const AuthRoleAddRequest = message({ name: field.text(1) });
export type AuthRoleAddRequest = MessageOf<typeof AuthRoleAddRequest>;

/** Asks for the permissions of a role. */
export const AuthRoleGetRequest = message({ role: field.text(1) });
export type AuthRoleGetRequest = MessageOf<typeof AuthRoleGetRequest>;

export const AuthRoleGetResponse = message({ header, perm: field.messages(2, Permission) });
export type AuthRoleGetResponse = MessageOf<typeof AuthRoleGetResponse>;

export const AuthRoleListResponse = message({ header, roles: field.texts(2) });
export type AuthRoleListResponse = MessageOf<typeof AuthRoleListResponse>;

export const AuthRoleDeleteRequest = message({ role: field.text(1) });
export type AuthRoleDeleteRequest = MessageOf<typeof AuthRoleDeleteRequest>;

export const AuthRoleGrantPermissionRequest = message({
  name: field.text(1),
  perm: field.message(2, Permission),
});
export type AuthRoleGrantPermissionRequest = MessageOf<typeof AuthRoleGrantPermissionRequest>;

export const AuthRoleRevokePermissionRequest = message({
  role: field.text(1),
  key: field.data(2),
  /** By etcd's rules for ranges; empty for the one key. */
  rangeEnd: field.data(3),
});
export type AuthRoleRevokePermissionRequest = MessageOf<typeof AuthRoleRevokePermissionRequest>;
