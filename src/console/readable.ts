import { endOfPrefix, overlap } from "../reshard/bound.js";
import { keyAfter } from "../shard/rangeReader.js";
import {
  AuthRoleGetRequest,
  AuthRoleGetResponse,
  AuthUserGetRequest,
  AuthUserGetResponse,
} from "../wire/messages.js";
import { Auth } from "../wire/paths.js";
import { decodeBytes, encodeBytes, prefixEnd } from "./bytes.js";
import type { Calls, Method } from "./calls.js";
import type { ReadableRange } from "./report.js";

const USER_GET: Method<AuthUserGetRequest, AuthUserGetResponse> = {
  path: Auth.UserGet,
  request: AuthUserGetRequest,
  response: AuthUserGetResponse,
};
const ROLE_GET: Method<AuthRoleGetRequest, AuthRoleGetResponse> = {
  path: Auth.RoleGet,
  request: AuthRoleGetRequest,
  response: AuthRoleGetResponse,
};

/** Most roles and ranges of a user that are shown. */
const MAX_ROLES = 32;
const MAX_RANGES = 256;
/** etcd's number of the permission to write only. */
const WRITE = 1;

const EVERYTHING: ReadableRange = {
  key: encodeBytes(Uint8Array.of(0)),
  rangeEnd: encodeBytes(Uint8Array.of(0)),
  prefix: "",
};

/** The ranges that a user may read. */
export async function readableRanges(calls: Calls, user: string): Promise<ReadableRange[]> {
  const { roles } = await calls.call(USER_GET, { name: user });
  if (roles.includes("root")) return [EVERYTHING];
  const all = await Promise.all(roles.slice(0, MAX_ROLES).map((role) => calls.call(ROLE_GET, { role })));
  return all
    .flatMap(({ perm }) => perm)
    .filter(({ permType }) => permType !== WRITE)
    .slice(0, MAX_RANGES)
    .map(({ key, rangeEnd }) => ({
      key: encodeBytes(key),
      rangeEnd: encodeBytes(rangeEnd),
      prefix: isPrefix(key, rangeEnd) ? encodeBytes(isAll(key) ? new Uint8Array(0) : key) : null,
    }));
}

/** Whether a key that begins with `prefix` can be in one of the ranges. For the empty prefix, it is enough to be a user. */
export function concerns(ranges: readonly ReadableRange[], prefix: Uint8Array): boolean {
  if (prefix.length === 0) return true;
  return ranges.some((range) => {
    const [from, rangeEnd] = [decodeBytes(range.key), decodeBytes(range.rangeEnd)];
    const to = rangeEnd.length === 0 ? keyAfter(from) : isAll(rangeEnd) ? null : rangeEnd;
    return overlap(from, to, prefix, endOfPrefix(prefix));
  });
}

const isAll = (key: Uint8Array): boolean => key.length === 1 && key[0] === 0;

function isPrefix(key: Uint8Array, rangeEnd: Uint8Array): boolean {
  if (rangeEnd.length === 0) return false;
  if (isAll(key)) return rangeEnd.length === 1 && rangeEnd[0] === 0;
  return Buffer.compare(prefixEnd(key), rangeEnd) === 0;
}
