import { readFileSync } from "node:fs";
import { join } from "node:path";
import protobuf from "protobufjs";
import { packageRoot } from "../../ops/package.js";

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
  const root = new protobuf.Root();
  for (const file of FILES) {
    protobuf.parse(readFileSync(join(packageRoot, "proto", file), "utf8"), root, { keepCase: true });
  }
  root.resolveAll();
  const types = new Map<protobuf.Type, MessageType>();
  const methods = new Map<string, Method>();
  for (const service of services(root)) {
    for (const method of service.methodsArray) {
      const path = `${service.fullName.slice(1)}/${method.name}`;
      methods.set(`/${path}`, {
        path: `/${path}`,
        request: compile(method.resolvedRequestType!, types),
        response: compile(method.resolvedResponseType!, types),
        requestStream: method.requestStream === true,
        responseStream: method.responseStream === true,
      });
    }
  }
  return methods;
}

function services(namespace: protobuf.NamespaceBase): protobuf.Service[] {
  return namespace.nestedArray.flatMap((nested) => {
    if (nested instanceof protobuf.Service) return [nested];
    return nested instanceof protobuf.Namespace ? services(nested) : [];
  });
}

function compile(source: protobuf.Type, types: Map<protobuf.Type, MessageType>): MessageType {
  const known = types.get(source);
  if (known !== undefined) return known;
  const fields: Field[] = [];
  const byName = new Map<string, Field>();
  const byTag = new Map<number, Field>();
  const type: MessageType = { name: source.fullName.slice(1), fields, byName, byTag };
  // Before its fields: a transaction contains transactions.
  types.set(source, type);
  const sources = [...source.fieldsArray].sort((a, b) => a.id - b.id);
  sources.forEach((each, slot) => {
    const field = compileField(each, slot, sources, types);
    fields.push(field);
    byName.set(field.name, field);
    byName.set(camelCase(field.name), field);
    byTag.set(field.tag, field);
    if (field.repeated) byTag.set(each.id * 8 + LENGTH_DELIMITED, field);
  });
  return type;
}

function compileField(
  source: protobuf.Field,
  slot: number,
  sources: readonly protobuf.Field[],
  types: Map<protobuf.Type, MessageType>,
): Field {
  const { resolvedType, partOf } = source;
  const kind = kindOf(source);
  const delimited = kind === "message" || kind === "string" || kind === "bytes";
  const rivals = sources.flatMap((other, i) => (other.partOf === partOf && i !== slot ? [i] : []));
  return {
    slot,
    name: source.name,
    label: `${JSON.stringify(source.name)}:`,
    kind,
    repeated: source.repeated,
    tag: source.id * 8 + (delimited ? LENGTH_DELIMITED : VARINT),
    rivals: partOf ? rivals : undefined,
    type: resolvedType instanceof protobuf.Type ? compile(resolvedType, types) : undefined,
    values: resolvedType instanceof protobuf.Enum ? enumValues(resolvedType) : undefined,
  };
}

function kindOf({ type, resolvedType, fullName }: protobuf.Field): Kind {
  if (resolvedType instanceof protobuf.Type) return "message";
  if (resolvedType instanceof protobuf.Enum) return "enum";
  switch (type) {
    case "bool":
    case "int32":
    case "uint32":
    case "int64":
    case "uint64":
    case "string":
    case "bytes":
      return type;
    default:
      throw new Error(`${fullName}: the gateway does not know the type ${type}`);
  }
}

function enumValues({ values }: protobuf.Enum): EnumValues {
  const all = Object.entries(values);
  return {
    byName: new Map(all),
    labels: new Map(all.map(([name, number]) => [number, JSON.stringify(name)])),
  };
}

/** `range_end` as `rangeEnd`, by the rule of protobuf's JSON mapping. */
function camelCase(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
