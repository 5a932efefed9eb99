// The declarations of proto/ in the form that the generators of src/wire/generated/ need.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import { root } from "../setup.js";

/** The files of proto/, imports first. Each has a different package. */
const FILES = [
  "kv.proto",
  "auth.proto",
  "rpc.proto",
  "v3lock.proto",
  "v3election.proto",
  "health.proto",
  "reflection_v1.proto",
  "reflection_v1alpha.proto",
];

/** Messages on the path of each request, and messages in them. Their codecs are written out. All others get tables. */
const WRITTEN_OUT = [
  "ResponseHeader",
  "KeyValue",
  "Event",
  "RangeRequest",
  "RangeResponse",
  "PutRequest",
  "PutResponse",
  "DeleteRangeRequest",
  "DeleteRangeResponse",
  "Compare",
  "RequestOp",
  "TxnRequest",
  "ResponseOp",
  "TxnResponse",
  "WatchCreateRequest",
  "WatchResponse",
];

/** etcd's messages with hand-written codecs, which decode them to simpler values. */
const BY_HAND = ["WatchRequest", "WatchCancelRequest", "WatchProgressRequest", "LeaseStatus"];

/** Fields that are bigints, because ids use all of their 64 bits. All other 64-bit fields are numbers. */
const IDS = new Set(["ID", "cluster_id", "member_id", "memberID", "targetID", "lease", "leader"]);

/** Range ends for which an empty value differs from an absent one, see `GIVEN_EMPTY`. */
const RANGE_ENDS = ["RangeRequest.range_end", "Compare.range_end"];

/** Reads all declarations of proto/. */
export function readModel() {
  const all = new protobuf.Root();
  const parsed = FILES.map((name) => {
    const source = readFileSync(join(root, "proto", name), "utf8");
    const options = { keepCase: true, alternateCommentMode: true };
    const { package: space, imports = [] } = protobuf.parse(source, all, options);
    return { name, space, imports };
  });
  all.resolveAll();
  const { file: descriptions } = all.toDescriptor("proto3");
  return { files: parsed.map((file) => describeFile(file, all, descriptions)) };
}

function describeFile({ name, space, imports }, all, descriptions) {
  const description = descriptions.find((file) => file.package === space);
  Object.assign(description, { name, dependency: imports });
  const foreign = space.startsWith("grpc.");
  const objects = objectsIn(all.lookup(space));
  const ofKind = (kind) => objects.filter((object) => object instanceof kind);
  return {
    name,
    space,
    imports,
    /** Whether the file is gRPC's and not etcd's. */
    foreign,
    messages: ofKind(protobuf.Type).map((type) => describeMessage(type, foreign)),
    enums: ofKind(protobuf.Enum).map(describeEnum),
    services: ofKind(protobuf.Service).map(describeService),
    descriptor: Buffer.from(descriptor.FileDescriptorProto.encode(description).finish()),
  };
}

/** All declarations in a namespace, at any depth. */
function objectsIn(space) {
  return space.nestedArray.flatMap((object) =>
    object instanceof protobuf.Type ? [object, ...objectsIn(object)] : [object],
  );
}

function describeMessage(type, foreign) {
  const byHand = foreign || BY_HAND.includes(type.name);
  return {
    name: type.name,
    fullName: fullNameOf(type),
    comment: type.comment,
    fields: type.fieldsArray.map((field) => describeField(field, type)),
    oneofs: type.oneofsArray.map(({ name }) => name),
    /** Form of its codec: generated as code, generated as a table, or hand-written. */
    form: byHand ? "hand" : WRITTEN_OUT.includes(type.name) ? "written" : "table",
  };
}

function describeField(field, message) {
  const { name, id, resolvedType, repeated, partOf, comment } = field;
  const kind = kindOf(field);
  const delimited = ["data", "text", "message"].includes(kind);
  return {
    name,
    property: propertyOf(name),
    id,
    tag: id * 8 + (delimited ? 2 : 0),
    /** A protobuf scalar type, or the full name of a message or enum. */
    type: resolvedType ? fullNameOf(resolvedType) : field.type,
    kind,
    message: resolvedType instanceof protobuf.Type ? resolvedType.name : undefined,
    enum: resolvedType instanceof protobuf.Enum ? enumName(resolvedType) : undefined,
    repeated,
    oneof: partOf?.name,
    isRangeEnd: RANGE_ENDS.includes(`${message.name}.${name}`),
    comment,
  };
}

/** The kind of a field: a name in `field` of field.ts. */
function kindOf({ name, type, resolvedType }) {
  if (resolvedType instanceof protobuf.Type) return "message";
  if (resolvedType instanceof protobuf.Enum) return "enum";
  if (type === "int64") return IDS.has(name) ? "bigInt64" : "int64";
  if (type === "uint64") return IDS.has(name) ? "bigUint64" : "uint64";
  const kind = { bool: "bool", int32: "int32", uint32: "uint32", string: "text", bytes: "data" }[type];
  if (kind === undefined) throw new Error(`${name}: the type ${type} is not supported`);
  return kind;
}

function describeEnum(type) {
  const { comment, values } = type;
  return { name: enumName(type), fullName: fullNameOf(type), comment, values: { ...values } };
}

function describeService(service) {
  return {
    name: service.name,
    fullName: fullNameOf(service),
    methods: service.methodsArray.map((method) => ({
      name: method.name,
      request: fullNameOf(method.resolvedRequestType),
      response: fullNameOf(method.resolvedResponseType),
      requestStream: method.requestStream === true,
      responseStream: method.responseStream === true,
    })),
  };
}

function fullNameOf(object) {
  return object.fullName.slice(1);
}

/** The name of an enum. One that is called `Type` gets its message's name as a prefix. */
function enumName({ name, parent }) {
  return name === "Type" ? `${parent.name}Type` : name;
}

/** Converts field names: `range_end` to `rangeEnd`, `peerURLs` to `peerUrls`, `ID` to `id`. */
export function propertyOf(name) {
  return name
    .replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
    .replace(/([A-Z])([A-Z]+)/g, (_, first, rest) => first + rest.toLowerCase())
    .replace(/^[A-Z]/, (first) => first.toLowerCase());
}

/** Converts a comment to a docstring, with names as in TypeScript. Returns nothing without a comment. */
export function docstring(comment) {
  if (!comment) return "";
  const text = comment
    .replace(/\s+/g, " ")
    .replace(/`(\w+)`/g, (quoted, name) => (name.includes("_") ? `\`${propertyOf(name)}\`` : quoted));
  if (text.length <= 110) return `/** ${text} */\n`;
  return `/**\n${text.replace(/(.{1,110})(?: |$)/g, " * $1\n")} */\n`;
}

/** A tag in hexadecimal, such as 0x0a. */
export function hexOf(tag) {
  return `0x${tag.toString(16).padStart(2, "0")}`;
}
