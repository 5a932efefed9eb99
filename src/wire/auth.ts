import { type Codec, codec, type Init } from "./codec.js";
import { type ResponseHeader, readHeader, writeHeader } from "./header.js";
import { EMPTY, type Reader } from "./reader.js";
import type { Writer } from "./writer.js";

/** What a role may do to a key or range of keys. */
export interface Permission {
  /** 0: read, 1: write, 2: both. */
  permType: number;
  key: Uint8Array;
  /** By etcd's rules for ranges; empty for the one key. */
  rangeEnd: Uint8Array;
  unknown?: Uint8Array;
}

function readPermission(r: Reader, m: Permission = { permType: 0, key: EMPTY, rangeEnd: EMPTY }): Permission {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.permType = r.int32();
        break;
      case 0x12:
        m.key = r.data();
        break;
      case 0x1a:
        m.rangeEnd = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writePermission(w: Writer, m: Init<Permission>): void {
  w.raw(m.unknown);
  w.data(0x1a, m.rangeEnd);
  w.data(0x12, m.key);
  w.int64(0x08, m.permType);
}

export const Permission: Codec<Permission> = codec(readPermission, writePermission);

/** Asks for a token. */
export interface AuthenticateRequest {
  name: string;
  password: string;
  unknown?: Uint8Array;
}

function readAuthenticateRequest(
  r: Reader,
  m: AuthenticateRequest = { name: "", password: "" },
): AuthenticateRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      case 0x12:
        m.password = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthenticateRequest(w: Writer, m: Init<AuthenticateRequest>): void {
  w.raw(m.unknown);
  w.text(0x12, m.password);
  w.text(0x0a, m.name);
}

export const AuthenticateRequest: Codec<AuthenticateRequest> = codec(
  readAuthenticateRequest,
  writeAuthenticateRequest,
);

export interface AuthenticateResponse {
  header?: ResponseHeader;
  token: string;
  unknown?: Uint8Array;
}

function readAuthenticateResponse(r: Reader, m: AuthenticateResponse = { token: "" }): AuthenticateResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.token = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthenticateResponse(w: Writer, m: Init<AuthenticateResponse>): void {
  w.raw(m.unknown);
  w.text(0x12, m.token);
  w.message(0x0a, writeHeader, m.header);
}

export const AuthenticateResponse: Codec<AuthenticateResponse> = codec(
  readAuthenticateResponse,
  writeAuthenticateResponse,
);

/** Whether authentication is on. */
export interface AuthStatusResponse {
  header?: ResponseHeader;
  enabled: boolean;
  /** Grows with every change of users and roles. */
  authRevision: number;
  unknown?: Uint8Array;
}

function readAuthStatusResponse(
  r: Reader,
  m: AuthStatusResponse = { enabled: false, authRevision: 0 },
): AuthStatusResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x10:
        m.enabled = r.bool();
        break;
      case 0x18:
        m.authRevision = r.uint64();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeAuthStatusResponse(w: Writer, m: Init<AuthStatusResponse>): void {
  w.raw(m.unknown);
  w.uint64(0x18, m.authRevision);
  w.bool(0x10, m.enabled);
  w.message(0x0a, writeHeader, m.header);
}

export const AuthStatusResponse: Codec<AuthStatusResponse> = codec(
  readAuthStatusResponse,
  writeAuthStatusResponse,
);

export interface UserAddOptions {
  /** A user who can only come by a client certificate. */
  noPassword: boolean;
  unknown?: Uint8Array;
}

function readUserAddOptions(r: Reader, m: UserAddOptions = { noPassword: false }): UserAddOptions {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x08:
        m.noPassword = r.bool();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeUserAddOptions(w: Writer, m: Init<UserAddOptions>): void {
  w.raw(m.unknown);
  w.bool(0x08, m.noPassword);
}

export const UserAddOptions: Codec<UserAddOptions> = codec(readUserAddOptions, writeUserAddOptions);

/** Adds a user. */
export interface AuthUserAddRequest {
  name: string;
  password: string;
  options?: UserAddOptions;
  /** etcd 3.5: what bcrypt makes of the password, base64, instead of it. */
  hashedPassword: string;
  unknown?: Uint8Array;
}

function readAuthUserAddRequest(
  r: Reader,
  m: AuthUserAddRequest = { name: "", password: "", hashedPassword: "" },
): AuthUserAddRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      case 0x12:
        m.password = r.text();
        break;
      case 0x1a:
        m.options = r.message(readUserAddOptions, m.options);
        break;
      case 0x22:
        m.hashedPassword = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 4);
    }
  }
  return m;
}

function writeAuthUserAddRequest(w: Writer, m: Init<AuthUserAddRequest>): void {
  w.raw(m.unknown);
  w.text(0x22, m.hashedPassword);
  w.message(0x1a, writeUserAddOptions, m.options);
  w.text(0x12, m.password);
  w.text(0x0a, m.name);
}

export const AuthUserAddRequest: Codec<AuthUserAddRequest> = codec(
  readAuthUserAddRequest,
  writeAuthUserAddRequest,
);

/** Asks for the roles of a user. */
export interface AuthUserGetRequest {
  name: string;
  unknown?: Uint8Array;
}

function readAuthUserGetRequest(r: Reader, m: AuthUserGetRequest = { name: "" }): AuthUserGetRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeAuthUserGetRequest(w: Writer, m: Init<AuthUserGetRequest>): void {
  w.raw(m.unknown);
  w.text(0x0a, m.name);
}

export const AuthUserGetRequest: Codec<AuthUserGetRequest> = codec(
  readAuthUserGetRequest,
  writeAuthUserGetRequest,
);

export interface AuthUserGetResponse {
  header?: ResponseHeader;
  roles: string[];
  unknown?: Uint8Array;
}

function readAuthUserGetResponse(r: Reader, m: AuthUserGetResponse = { roles: [] }): AuthUserGetResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.roles.push(r.text());
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthUserGetResponse(w: Writer, m: Init<AuthUserGetResponse>): void {
  w.raw(m.unknown);
  w.texts(0x12, m.roles);
  w.message(0x0a, writeHeader, m.header);
}

export const AuthUserGetResponse: Codec<AuthUserGetResponse> = codec(
  readAuthUserGetResponse,
  writeAuthUserGetResponse,
);

export interface AuthUserListResponse {
  header?: ResponseHeader;
  users: string[];
  unknown?: Uint8Array;
}

function readAuthUserListResponse(r: Reader, m: AuthUserListResponse = { users: [] }): AuthUserListResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.users.push(r.text());
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthUserListResponse(w: Writer, m: Init<AuthUserListResponse>): void {
  w.raw(m.unknown);
  w.texts(0x12, m.users);
  w.message(0x0a, writeHeader, m.header);
}

export const AuthUserListResponse: Codec<AuthUserListResponse> = codec(
  readAuthUserListResponse,
  writeAuthUserListResponse,
);

export interface AuthUserDeleteRequest {
  name: string;
  unknown?: Uint8Array;
}

function readAuthUserDeleteRequest(
  r: Reader,
  m: AuthUserDeleteRequest = { name: "" },
): AuthUserDeleteRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeAuthUserDeleteRequest(w: Writer, m: Init<AuthUserDeleteRequest>): void {
  w.raw(m.unknown);
  w.text(0x0a, m.name);
}

export const AuthUserDeleteRequest: Codec<AuthUserDeleteRequest> = codec(
  readAuthUserDeleteRequest,
  writeAuthUserDeleteRequest,
);

export interface AuthUserChangePasswordRequest {
  name: string;
  password: string;
  /** As in `AuthUserAddRequest`. */
  hashedPassword: string;
  unknown?: Uint8Array;
}

function readAuthUserChangePasswordRequest(
  r: Reader,
  m: AuthUserChangePasswordRequest = { name: "", password: "", hashedPassword: "" },
): AuthUserChangePasswordRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      case 0x12:
        m.password = r.text();
        break;
      case 0x1a:
        m.hashedPassword = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeAuthUserChangePasswordRequest(w: Writer, m: Init<AuthUserChangePasswordRequest>): void {
  w.raw(m.unknown);
  w.text(0x1a, m.hashedPassword);
  w.text(0x12, m.password);
  w.text(0x0a, m.name);
}

export const AuthUserChangePasswordRequest: Codec<AuthUserChangePasswordRequest> = codec(
  readAuthUserChangePasswordRequest,
  writeAuthUserChangePasswordRequest,
);

export interface AuthUserGrantRoleRequest {
  user: string;
  role: string;
  unknown?: Uint8Array;
}

function readAuthUserGrantRoleRequest(
  r: Reader,
  m: AuthUserGrantRoleRequest = { user: "", role: "" },
): AuthUserGrantRoleRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.user = r.text();
        break;
      case 0x12:
        m.role = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthUserGrantRoleRequest(w: Writer, m: Init<AuthUserGrantRoleRequest>): void {
  w.raw(m.unknown);
  w.text(0x12, m.role);
  w.text(0x0a, m.user);
}

export const AuthUserGrantRoleRequest: Codec<AuthUserGrantRoleRequest> = codec(
  readAuthUserGrantRoleRequest,
  writeAuthUserGrantRoleRequest,
);

export interface AuthUserRevokeRoleRequest {
  name: string;
  role: string;
  unknown?: Uint8Array;
}

function readAuthUserRevokeRoleRequest(
  r: Reader,
  m: AuthUserRevokeRoleRequest = { name: "", role: "" },
): AuthUserRevokeRoleRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      case 0x12:
        m.role = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthUserRevokeRoleRequest(w: Writer, m: Init<AuthUserRevokeRoleRequest>): void {
  w.raw(m.unknown);
  w.text(0x12, m.role);
  w.text(0x0a, m.name);
}

export const AuthUserRevokeRoleRequest: Codec<AuthUserRevokeRoleRequest> = codec(
  readAuthUserRevokeRoleRequest,
  writeAuthUserRevokeRoleRequest,
);

export interface AuthRoleAddRequest {
  name: string;
  unknown?: Uint8Array;
}

function readAuthRoleAddRequest(r: Reader, m: AuthRoleAddRequest = { name: "" }): AuthRoleAddRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeAuthRoleAddRequest(w: Writer, m: Init<AuthRoleAddRequest>): void {
  w.raw(m.unknown);
  w.text(0x0a, m.name);
}

export const AuthRoleAddRequest: Codec<AuthRoleAddRequest> = codec(
  readAuthRoleAddRequest,
  writeAuthRoleAddRequest,
);

/** Asks for the permissions of a role. */
export interface AuthRoleGetRequest {
  role: string;
  unknown?: Uint8Array;
}

function readAuthRoleGetRequest(r: Reader, m: AuthRoleGetRequest = { role: "" }): AuthRoleGetRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.role = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeAuthRoleGetRequest(w: Writer, m: Init<AuthRoleGetRequest>): void {
  w.raw(m.unknown);
  w.text(0x0a, m.role);
}

export const AuthRoleGetRequest: Codec<AuthRoleGetRequest> = codec(
  readAuthRoleGetRequest,
  writeAuthRoleGetRequest,
);

export interface AuthRoleGetResponse {
  header?: ResponseHeader;
  perm: Permission[];
  unknown?: Uint8Array;
}

function readAuthRoleGetResponse(r: Reader, m: AuthRoleGetResponse = { perm: [] }): AuthRoleGetResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.perm.push(r.message(readPermission));
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthRoleGetResponse(w: Writer, m: Init<AuthRoleGetResponse>): void {
  w.raw(m.unknown);
  w.messages(0x12, writePermission, m.perm);
  w.message(0x0a, writeHeader, m.header);
}

export const AuthRoleGetResponse: Codec<AuthRoleGetResponse> = codec(
  readAuthRoleGetResponse,
  writeAuthRoleGetResponse,
);

export interface AuthRoleListResponse {
  header?: ResponseHeader;
  roles: string[];
  unknown?: Uint8Array;
}

function readAuthRoleListResponse(r: Reader, m: AuthRoleListResponse = { roles: [] }): AuthRoleListResponse {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.header = r.message(readHeader, m.header);
        break;
      case 0x12:
        m.roles.push(r.text());
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthRoleListResponse(w: Writer, m: Init<AuthRoleListResponse>): void {
  w.raw(m.unknown);
  w.texts(0x12, m.roles);
  w.message(0x0a, writeHeader, m.header);
}

export const AuthRoleListResponse: Codec<AuthRoleListResponse> = codec(
  readAuthRoleListResponse,
  writeAuthRoleListResponse,
);

export interface AuthRoleDeleteRequest {
  role: string;
  unknown?: Uint8Array;
}

function readAuthRoleDeleteRequest(
  r: Reader,
  m: AuthRoleDeleteRequest = { role: "" },
): AuthRoleDeleteRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.role = r.text();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 1);
    }
  }
  return m;
}

function writeAuthRoleDeleteRequest(w: Writer, m: Init<AuthRoleDeleteRequest>): void {
  w.raw(m.unknown);
  w.text(0x0a, m.role);
}

export const AuthRoleDeleteRequest: Codec<AuthRoleDeleteRequest> = codec(
  readAuthRoleDeleteRequest,
  writeAuthRoleDeleteRequest,
);

export interface AuthRoleGrantPermissionRequest {
  name: string;
  perm?: Permission;
  unknown?: Uint8Array;
}

function readAuthRoleGrantPermissionRequest(
  r: Reader,
  m: AuthRoleGrantPermissionRequest = { name: "" },
): AuthRoleGrantPermissionRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.name = r.text();
        break;
      case 0x12:
        m.perm = r.message(readPermission, m.perm);
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 2);
    }
  }
  return m;
}

function writeAuthRoleGrantPermissionRequest(w: Writer, m: Init<AuthRoleGrantPermissionRequest>): void {
  w.raw(m.unknown);
  w.message(0x12, writePermission, m.perm);
  w.text(0x0a, m.name);
}

export const AuthRoleGrantPermissionRequest: Codec<AuthRoleGrantPermissionRequest> = codec(
  readAuthRoleGrantPermissionRequest,
  writeAuthRoleGrantPermissionRequest,
);

export interface AuthRoleRevokePermissionRequest {
  role: string;
  key: Uint8Array;
  /** By etcd's rules for ranges; empty for the one key. */
  rangeEnd: Uint8Array;
  unknown?: Uint8Array;
}

function readAuthRoleRevokePermissionRequest(
  r: Reader,
  m: AuthRoleRevokePermissionRequest = { role: "", key: EMPTY, rangeEnd: EMPTY },
): AuthRoleRevokePermissionRequest {
  while (r.more()) {
    const tag = r.tag();
    switch (tag) {
      case 0x0a:
        m.role = r.text();
        break;
      case 0x12:
        m.key = r.data();
        break;
      case 0x1a:
        m.rangeEnd = r.data();
        break;
      default:
        m.unknown = r.unknown(tag, m.unknown, 3);
    }
  }
  return m;
}

function writeAuthRoleRevokePermissionRequest(w: Writer, m: Init<AuthRoleRevokePermissionRequest>): void {
  w.raw(m.unknown);
  w.data(0x1a, m.rangeEnd);
  w.data(0x12, m.key);
  w.text(0x0a, m.role);
}

export const AuthRoleRevokePermissionRequest: Codec<AuthRoleRevokePermissionRequest> = codec(
  readAuthRoleRevokePermissionRequest,
  writeAuthRoleRevokePermissionRequest,
);
