// The declarations of proto/, for the generators of src/wire/generated/.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import { root } from "../setup.js";

/** The files of proto/, imports first. Each has its own package. */
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

/** Messages in the path of every request, or inside one: their codecs have code for each field. All others get tables. */
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

/** etcd's messages that code reads by hand into a shorter form. */
const BY_HAND = ["WatchRequest", "WatchCancelRequest", "WatchProgressRequest", "LeaseStatus"];

/** Ids, which use all of their 64 bits: bigints. All other 64-bit fields are numbers. */
const IDS = new Set(["ID", "cluster_id", "member_id", "memberID", "targetID", "lease", "leader"]);

/** Range ends that are forwarded: for them, empty and absent differ; see `GIVEN_EMPTY`. */
const RANGE_ENDS = ["RangeRequest.range_end", "Compare.range_end"];

/** Everything that proto/ declares. */
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
    /** True if it is gRPC's own, not etcd's. */
    foreign,
    messages: ofKind(protobuf.Type).map((type) => describeMessage(type, foreign)),
    enums: ofKind(protobuf.Enum).map(describeEnum),
    services: ofKind(protobuf.Service).map(describeService),
    descriptor: Buffer.from(descriptor.FileDescriptorProto.encode(description).finish()),
  };
}

/** Everything declared inside a namespace, at any depth. */
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
    /** How its codec is made: generated as code, generated as a table, or written by hand. */
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
    /** A scalar of protobuf, or the full name of a message or enum. */
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

/** How src/wire reads and writes a field: a name in `field` of field.ts. */
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

/** An enum that is only called `Type` has its message's name before it. */
function enumName({ name, parent }) {
  return name === "Type" ? `${parent.name}Type` : name;
}

/** `range_end` as `rangeEnd`, `peerURLs` as `peerUrls`, `ID` as `id`. */
export function propertyOf(name) {
  return name
    .replace(/_(\w)/g, (_, letter) => letter.toUpperCase())
    .replace(/([A-Z])([A-Z]+)/g, (_, first, rest) => first + rest.toLowerCase())
    .replace(/^[A-Z]/, (first) => first.toLowerCase());
}

/** A comment as a docstring, or nothing. Names are converted to their TypeScript form. */
export function docstring(comment) {
  if (!comment) return "";
  const text = comment
    .replace(/\s+/g, " ")
    .replace(/`(\w+)`/g, (quoted, name) => (name.includes("_") ? `\`${propertyOf(name)}\`` : quoted));
  if (text.length <= 110) return `/** ${text} */\n`;
  return `/**\n${text.replace(/(.{1,110})(?: |$)/g, " * $1\n")} */\n`;
}

/** A tag in hexadecimal: 0x0a. */
export function hexOf(tag) {
  return `0x${tag.toString(16).padStart(2, "0")}`;
}
