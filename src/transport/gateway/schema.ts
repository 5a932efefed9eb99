import { readProto } from "../../ops/package.js";
import { type ProtoField, ProtoFiles } from "./proto.js";

/** How a value looks on the wire and in JSON. */
export type Kind = "bool" | "int32" | "uint32" | "int64" | "uint64" | "enum" | "string" | "bytes" | "message";

export interface Field {
  /** Its place among the message's fields, which are in the order of their numbers. */
  readonly slot: number;
  readonly name: string;
  /** `name` as JSON text with the colon. */
  readonly label: string;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Field number * 8 + wire type of one value. */
  readonly tag: number;
  /** Slots of the other members of its oneof; undefined when it is not in one. */
  readonly rivals: readonly number[] | undefined;
  /** For kind "message". */
  readonly type: MessageType | undefined;
  /** For kind "enum". */
  readonly values: EnumValues | undefined;
}

export interface EnumValues {
  readonly byName: ReadonlyMap<string, number>;
  /** Numbers to names as JSON text. */
  readonly labels: ReadonlyMap<number, string>;
}

export interface MessageType {
  readonly name: string;
  /** In the order of their numbers. */
  readonly fields: readonly Field[];
  /** By their name in the .proto file and by its camelCase form: etcd takes both. */
  readonly byName: ReadonlyMap<string, Field>;
  /** By tag, and repeated numbers also by the tag of their packed form. */
  readonly byTag: ReadonlyMap<number, Field>;
}

export interface Method {
  /** Full gRPC path. */
  readonly path: string;
  readonly request: MessageType;
  readonly response: MessageType;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

const FILES = ["kv.proto", "auth.proto", "rpc.proto", "v3lock.proto", "v3election.proto"];
const VARINT = 0;
const LENGTH_DELIMITED = 2;

/** Every method of the services in `proto/`, by its full gRPC path. Read once, with the first call. */
export function loadMethods(): ReadonlyMap<string, Method> {
  const files = new ProtoFiles();
  for (const file of FILES) files.read(readProto(file));
  const types = new Map<string, MessageType>();
  const methods = new Map<string, Method>();
  for (const { service, name, request, response, requestStream, responseStream } of files.methods) {
    const path = `/${service}/${name}`;
    methods.set(path, {
      path,
      request: compile(nameOf(request, service, files), files, types),
      response: compile(nameOf(response, service, files), files, types),
      requestStream,
      responseStream,
    });
  }
  return methods;
}

function nameOf(type: string, scope: string, files: ProtoFiles): string {
  const name = files.resolve(type, scope);
  if (name === undefined) throw new Error(`${scope}: there is no ${type}`);
  return name;
}

function compile(name: string, files: ProtoFiles, types: Map<string, MessageType>): MessageType {
  const known = types.get(name);
  if (known !== undefined) return known;
  const fields: Field[] = [];
  const byName = new Map<string, Field>();
  const byTag = new Map<number, Field>();
  const type: MessageType = { name, fields, byName, byTag };
  // Before its fields: a transaction contains transactions.
  types.set(name, type);
  const sources = files.messages.get(name)!.toSorted((a, b) => a.id - b.id);
  for (const [slot, source] of sources.entries()) {
    const rivals = sources.flatMap(({ oneof }, i) => (oneof === source.oneof && i !== slot ? [i] : []));
    const field: Field = {
      slot,
      name: source.name,
      label: `${JSON.stringify(source.name)}:`,
      repeated: source.repeated,
      rivals: source.oneof === undefined ? undefined : rivals,
      ...compileType(source, name, files, types),
    };
    fields.push(field);
    byName.set(field.name, field);
    byName.set(camelCase(field.name), field);
    byTag.set(field.tag, field);
    if (field.repeated) byTag.set(source.id * 8 + LENGTH_DELIMITED, field);
  }
  return type;
}

function compileType(
  { id, type }: ProtoField,
  message: string,
  files: ProtoFiles,
  types: Map<string, MessageType>,
): Pick<Field, "kind" | "tag" | "type" | "values"> {
  const name = files.resolve(type, message);
  if (name === undefined) {
    if (!SCALARS.has(type)) throw new Error(`${message}: the gateway does not know the type ${type}`);
    const wireType = type === "string" || type === "bytes" ? LENGTH_DELIMITED : VARINT;
    return { kind: type as Kind, tag: id * 8 + wireType, type: undefined, values: undefined };
  }
  const values = files.enums.get(name);
  return values === undefined
    ? { kind: "message", tag: id * 8 + LENGTH_DELIMITED, type: compile(name, files, types), values }
    : { kind: "enum", tag: id * 8 + VARINT, type: undefined, values: enumValues(values) };
}

const SCALARS: ReadonlySet<string> = new Set<Kind>([
  "bool",
  "int32",
  "uint32",
  "int64",
  "uint64",
  "string",
  "bytes",
]);

function enumValues(byName: ReadonlyMap<string, number>): EnumValues {
  return { byName, labels: new Map([...byName].map(([name, number]) => [number, JSON.stringify(name)])) };
}

/** `range_end` as `rangeEnd`, by the rule of protobuf's JSON mapping. */
function camelCase(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
