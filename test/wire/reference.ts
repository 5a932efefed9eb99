import { basename, join } from "node:path";
import protobuf from "protobufjs";
import { packageRoot } from "../../src/ops/package.js";

/**
 * An independent decoder for comparison: slow, simple, and driven by proto/. It has the rules of etcd's generated Go code:
 * the last scalar wins, message fields merge, a oneof member replaces the others, and a wrong wire type is an error.
 */

const folder = join(packageRoot, "proto");

/** The types of proto/. */
export const root = load();

function load(): protobuf.Root {
  const result = new protobuf.Root();
  result.resolvePath = (_origin, target) => join(folder, basename(target));
  result.loadSync(["rpc.proto", "v3lock.proto", "v3election.proto"], { keepCase: true });
  result.resolveAll();
  return result;
}

/** The message types with a codec in src/wire. */
export const messageTypes = [
  "ResponseHeader",
  "RangeRequest",
  "RangeResponse",
  "PutRequest",
  "PutResponse",
  "DeleteRangeRequest",
  "DeleteRangeResponse",
  "RequestOp",
  "ResponseOp",
  "Compare",
  "TxnRequest",
  "TxnResponse",
  "CompactionRequest",
  "CompactionResponse",
  "LeaseGrantRequest",
  "LeaseGrantResponse",
  "LeaseRevokeRequest",
  "LeaseRevokeResponse",
  "LeaseKeepAliveRequest",
  "LeaseKeepAliveResponse",
  "LeaseTimeToLiveRequest",
  "LeaseTimeToLiveResponse",
  "LeaseLeasesRequest",
  "LeaseLeasesResponse",
  "WatchRequest",
  "WatchCreateRequest",
  "WatchResponse",
  "StatusRequest",
  "StatusResponse",
  "DowngradeInfo",
  "Member",
  "MemberListRequest",
  "MemberListResponse",
  "MemberAddRequest",
  "MemberRemoveRequest",
  "MemberUpdateRequest",
  "MemberPromoteRequest",
  "AlarmRequest",
  "AlarmMember",
  "AlarmResponse",
  "HashResponse",
  "HashKVRequest",
  "HashKVResponse",
  "MoveLeaderRequest",
  "DowngradeRequest",
  "DowngradeResponse",
  "SnapshotResponse",
  "KeyValue",
  "Event",
  "Permission",
  "UserAddOptions",
  "AuthenticateRequest",
  "AuthenticateResponse",
  "AuthStatusResponse",
  "AuthUserAddRequest",
  "AuthUserGetRequest",
  "AuthUserGetResponse",
  "AuthUserListResponse",
  "AuthUserDeleteRequest",
  "AuthUserChangePasswordRequest",
  "AuthUserGrantRoleRequest",
  "AuthUserRevokeRoleRequest",
  "AuthRoleAddRequest",
  "AuthRoleGetRequest",
  "AuthRoleGetResponse",
  "AuthRoleListResponse",
  "AuthRoleDeleteRequest",
  "AuthRoleGrantPermissionRequest",
  "AuthRoleRevokePermissionRequest",
  "LockRequest",
  "LockResponse",
  "UnlockRequest",
  "UnlockResponse",
  "LeaderKey",
  "CampaignRequest",
  "CampaignResponse",
  "ProclaimRequest",
  "ProclaimResponse",
  "LeaderRequest",
  "LeaderResponse",
  "ResignRequest",
  "ResignResponse",
] as const;

export type MessageType = (typeof messageTypes)[number];

export function lookup(name: string): protobuf.Type {
  const folders = ["etcdserverpb", "mvccpb", "authpb", "v3lockpb", "v3electionpb"];
  const found = folders.find((folder) => root.lookup(`${folder}.${name}`) !== null);
  return root.lookupType(`${found}.${name}`);
}

/** Whether a 64-bit field is a bigint in src/wire. */
export function isBig(field: protobuf.Field): boolean {
  return ["cluster_id", "member_id", "lease", "ID", "leader", "memberID", "targetID"].includes(field.name);
}

/** Types that src/wire decodes to a simpler value, without unknown fields. */
export const flattened = ["LeaseStatus", "WatchCancelRequest", "WatchProgressRequest"];

/** A decoded message as plain data, with byte strings in hexadecimal. */
export type Plain = { [name: string]: unknown };

export class Malformed extends Error {}

const MASK = 2n ** 64n - 1n;

/** A two's complement number of `bits` bits. Not `BigInt.asIntN`, because Node 20 aborts when it optimises that here. */
function signed(value: bigint, bits: number): bigint {
  return value >> BigInt(bits - 1) === 0n ? value : value - (1n << BigInt(bits));
}

interface Occurrence {
  field: protobuf.Field;
  /** A raw varint, or the bytes of a length-delimited field. */
  value: bigint | Uint8Array;
}

/** Decodes `bytes` to the form that `plain` returns. Throws `Malformed`. */
export function decode(type: protobuf.Type, bytes: Uint8Array): Plain {
  const { occurrences, unknown } = split(type, bytes);
  const result: Plain = {};
  for (const field of type.fieldsArray) {
    if (field.partOf === null || field.partOf === undefined) result[nameOf(field)] = zero(field);
  }
  const parts = new Map<protobuf.Field, Uint8Array>();
  let member: Occurrence | undefined;
  for (const occurrence of occurrences) {
    const { field, value } = occurrence;
    const name = nameOf(field);
    if (field.partOf) {
      if (value instanceof Uint8Array && field.resolvedType) convert(field, value);
      member = occurrence;
    } else if (field.repeated) {
      (result[name] as unknown[]).push(convert(field, value));
    } else if (field.resolvedType instanceof protobuf.Type) {
      const whole = Buffer.concat([parts.get(field) ?? Buffer.alloc(0), value as Uint8Array]);
      parts.set(field, whole);
      // Each occurrence must be well-formed. Together they are the merged message.
      convert(field, value);
      result[name] = convert(field, whole);
    } else {
      result[name] = convert(field, value);
    }
  }
  if (type.name === "Compare") {
    if (member) result[nameOf(member.field)] = convert(member.field, member.value);
  } else if (type.oneofsArray.length > 0) {
    Object.assign(result, union(type, member));
  }
  for (const name of Object.keys(result)) if (result[name] === undefined) delete result[name];
  if (unknown.length > 0 && !flattened.includes(type.name)) result.unknown = hex(unknown);
  return result;
}

/** Converts a message decoded by src/wire to plain data. */
export function plain(message: unknown): unknown {
  if (message instanceof Uint8Array) return hex(message);
  if (Array.isArray(message)) return message.map(plain);
  if (typeof message !== "object" || message === null) return message;
  return Object.fromEntries(Object.entries(message).map(([name, value]) => [name, plain(value)]));
}

function union(type: protobuf.Type, member: Occurrence | undefined): Plain {
  if (member === undefined) return { kind: "none" };
  const content = convert(member.field, member.value);
  const kind = camel(member.field.name.replace(/^(request|response)_/, "").replace(/_request$/, ""));
  if (kind === "cancel") return { kind, watchId: (content as Plain).watchId };
  if (kind === "progress") return { kind };
  return { kind, [type.name === "ResponseOp" ? "response" : "request"]: content };
}

function zero(field: protobuf.Field): unknown {
  if (field.repeated) return [];
  if (field.resolvedType instanceof protobuf.Type) return undefined;
  if (field.type === "bytes" || field.type === "string") return "";
  if (field.type === "bool") return false;
  return isBig(field) ? 0n : 0;
}

function convert(field: protobuf.Field, value: bigint | Uint8Array): unknown {
  if (value instanceof Uint8Array) {
    if (field.type === "bytes") return hex(value);
    if (field.type === "string") return Buffer.from(value).toString("utf8");
    const content = decode(field.resolvedType as protobuf.Type, value);
    return field.type === "LeaseStatus" ? content.id : content;
  }
  if (field.type === "bool") return value !== 0n;
  if (field.resolvedType instanceof protobuf.Enum) return Number(signed(value & 0xffff_ffffn, 32));
  if (field.type === "uint32") return Number(value & 0xffff_ffffn);
  const exact = field.type === "uint64" ? value : signed(value, 64);
  return isBig(field) ? exact : Number(exact);
}

function split(type: protobuf.Type, bytes: Uint8Array): { occurrences: Occurrence[]; unknown: Uint8Array } {
  const occurrences: Occurrence[] = [];
  const unknown: Uint8Array[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let i = 0; i < 10; i++) {
      if (at >= bytes.length) throw new Malformed("truncated");
      const byte = bytes[at++];
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return value & MASK;
    }
    throw new Malformed("overlong");
  };
  const take = (count: bigint): Uint8Array => {
    if (count > BigInt(bytes.length - at)) throw new Malformed("truncated");
    at += Number(count);
    return bytes.subarray(at - Number(count), at);
  };
  const skip = (wireType: number): void => {
    if (wireType === 0) varint();
    else if (wireType === 1) take(8n);
    else if (wireType === 2) take(varint());
    else if (wireType === 5) take(4n);
    else if (wireType !== 3) throw new Malformed(`wire type ${wireType}`);
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const wireType = Number(tag & 7n);
    const number = Number(signed((tag >> 3n) & 0xffff_ffffn, 32));
    if (wireType === 4 || number <= 0) throw new Malformed("tag");
    const field = type.fieldsById[number];
    if (field === undefined) {
      skip(wireType);
      for (let open = wireType === 3 ? 1 : 0; open > 0; ) {
        const inner = Number(varint() & 7n);
        if (inner === 3) open++;
        else if (inner === 4) open--;
        else skip(inner);
      }
      unknown.push(bytes.subarray(start, at));
      continue;
    }
    const nested =
      field.type === "bytes" || field.type === "string" || field.resolvedType instanceof protobuf.Type;
    if (wireType === 2 && nested) {
      occurrences.push({ field, value: take(varint()) });
    } else if (wireType === 0 && !nested) {
      occurrences.push({ field, value: varint() });
    } else if (wireType === 2 && field.repeated) {
      const packed = take(varint());
      const rest = at;
      const whole = bytes;
      bytes = packed;
      at = 0;
      while (at < packed.length) occurrences.push({ field, value: varint() });
      bytes = whole;
      at = rest;
    } else {
      throw new Malformed(`wire type ${wireType}`);
    }
  }
  return { occurrences, unknown: Buffer.concat(unknown) };
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** The name of a field in src/wire. */
function nameOf(field: protobuf.Field): string {
  return camel(field.name);
}

function camel(name: string): string {
  const short: Record<string, string> = {
    ID: "id",
    TTL: "ttl",
    grantedTTL: "grantedTtl",
    memberID: "memberId",
    targetID: "targetId",
    peerURLs: "peerUrls",
    clientURLs: "clientUrls",
  };
  return short[name] ?? name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}
