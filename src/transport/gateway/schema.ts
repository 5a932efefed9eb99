import { enums, type FieldSchema, messages, services } from "../../wire/generated/schema.js";

export type ScalarKind = "bool" | "int32" | "uint32" | "int64" | "uint64" | "string" | "bytes";

/** How a value looks on the wire and in JSON. Every field has the same members, so that reading them stays fast. */
export type FieldType =
  | { readonly kind: "message"; readonly type: MessageType; readonly values: undefined }
  | { readonly kind: "enum"; readonly type: undefined; readonly values: EnumValues }
  | { readonly kind: ScalarKind; readonly type: undefined; readonly values: undefined };

export type Field = FieldType & {
  /** Index among the message's fields. */
  readonly slot: number;
  readonly name: string;
  /** `name` as a JSON string with a colon. */
  readonly label: string;
  readonly repeated: boolean;
  /** Field number * 8 + wire type of one value. */
  readonly tag: number;
  /** Slots of the other members of its oneof; undefined outside of oneofs. */
  readonly rivals: readonly number[] | undefined;
};

export interface EnumValues {
  readonly byName: ReadonlyMap<string, number>;
  /** Names as JSON strings, by number. */
  readonly labels: ReadonlyMap<number, string>;
}

export interface MessageType {
  readonly name: string;
  /** Ordered by field number. */
  readonly fields: readonly Field[];
  /** By the name in the .proto file and by its camelCase form; etcd accepts both. */
  readonly byName: ReadonlyMap<string, Field>;
  /** By tag. Repeated numbers are also found by the tag of their packed form. */
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

const VARINT = 0;
const LENGTH_DELIMITED = 2;

/** Services of gRPC itself, which etcd's gateway does not serve. */
const FOREIGN_PREFIX = "grpc.";

/** Every method of etcd's services, by full gRPC path. */
export function loadMethods(): ReadonlyMap<string, Method> {
  const types = new Map<string, MessageType>();
  const methods = new Map<string, Method>();
  for (const [service, members] of Object.entries(services)) {
    if (service.startsWith(FOREIGN_PREFIX)) continue;
    for (const [name, method] of Object.entries(members)) {
      const path = `/${service}/${name}`;
      methods.set(path, {
        path,
        request: compile(method.request, types),
        response: compile(method.response, types),
        requestStream: method.requestStream === true,
        responseStream: method.responseStream === true,
      });
    }
  }
  return methods;
}

function compile(name: string, types: Map<string, MessageType>): MessageType {
  const known = types.get(name);
  if (known !== undefined) return known;
  const fields: Field[] = [];
  const byName = new Map<string, Field>();
  const byTag = new Map<number, Field>();
  const type: MessageType = { name, fields, byName, byTag };
  // Set before the fields are compiled: a transaction contains transactions.
  types.set(name, type);
  const declared = messages[name];
  if (declared === undefined) throw new Error(`there is no message ${name} in proto/`);
  const sources = declared.toSorted((a, b) => a.id - b.id);
  for (const [slot, source] of sources.entries()) {
    const rivals = sources.flatMap(({ oneof }, i) => (oneof === source.oneof && i !== slot ? [i] : []));
    const field: Field = {
      slot,
      name: source.name,
      label: `${JSON.stringify(source.name)}:`,
      repeated: source.repeated === true,
      rivals: source.oneof === undefined ? undefined : rivals,
      ...compileType(source, types),
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
  { id, type }: FieldSchema,
  types: Map<string, MessageType>,
): FieldType & Pick<Field, "tag"> {
  if (type in messages) {
    return {
      kind: "message",
      tag: id * 8 + LENGTH_DELIMITED,
      type: compile(type, types),
      values: undefined,
    };
  }
  const values = enums[type];
  if (values !== undefined) {
    return { kind: "enum", tag: id * 8 + VARINT, type: undefined, values: enumValues(values) };
  }
  const wireType = type === "string" || type === "bytes" ? LENGTH_DELIMITED : VARINT;
  return { kind: type as ScalarKind, tag: id * 8 + wireType, type: undefined, values: undefined };
}

function enumValues(numbers: Readonly<Record<string, number>>): EnumValues {
  const values = Object.entries(numbers);
  return {
    byName: new Map(values),
    labels: new Map(values.map(([name, number]) => [number, JSON.stringify(name)])),
  };
}

/** `range_end` to `rangeEnd`, by the rule of protobuf's JSON mapping. */
function camelCase(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
