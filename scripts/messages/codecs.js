// Codecs that are written out field by field, and so are faster than those made from tables.
import { docstring, hexOf } from "./model.js";

/** Type, zero value, and methods of `Reader` and `Writer` for each kind of field. */
const KINDS = {
  bool: { type: "boolean", zero: "false", read: "r.bool()", write: "bool" },
  enum: { type: "number", zero: "0", read: "r.int32()", write: "int64" },
  int64: { type: "number", zero: "0", read: "r.int64()", write: "int64" },
  uint64: { type: "number", zero: "0", read: "r.uint64()", write: "uint64" },
  bigInt64: { type: "bigint", zero: "0n", read: "r.bigInt64()", write: "big64" },
  bigUint64: { type: "bigint", zero: "0n", read: "r.bigUint64()", write: "big64" },
  data: { type: "Uint8Array", zero: "EMPTY", read: "r.data()", write: "data" },
  text: { type: "string", zero: '""', read: "r.text()", write: "text" },
};

/** `generated/codecs.ts`: type and codec of each message. */
export function codecsFile(messages) {
  const cast = messages.flatMap(({ fields }) => fields.filter((field) => field.enum && !field.repeated));
  const wanted = new Set(cast.map((field) => field.enum));
  return [
    'import { codec, type Init, type MessageCodec } from "../codec.js";',
    'import { EMPTY, type Reader } from "../reader.js";',
    'import type { Writer } from "../writer.js";',
    `import type { ${[...wanted].sort().join(", ")} } from "./enums.js";`,
    "",
    ...messages.map((message) => codecOf(message, isRecursive(message, messages))),
  ].join("\n");
}

/** `generated/enums.ts`: numbers by name, and the type of the numbers. */
export function enumsFile(enums) {
  return enums
    .map(({ name, comment, values }) => {
      const members = Object.entries(values).map(([key, number]) => `${key}: ${number}`);
      return `${docstring(comment)}export const ${name} = { ${members.join(", ")} } as const;
export type ${name} = (typeof ${name})[keyof typeof ${name}];
`;
    })
    .join("\n");
}

function codecOf(message, recursive) {
  const { name } = message;
  return `${isUnion(message) ? unionOf(message) : structOf(message, recursive)}
export const ${name}: MessageCodec<${name}> = codec(read${name}, write${name});
`;
}

/** Whether a message is a oneof of messages and nothing else. It becomes a union discriminated by `kind`. */
function isUnion({ fields }) {
  return fields.every(({ kind, oneof }) => kind === "message" && oneof !== undefined);
}

function isRecursive(message, messages) {
  const seen = new Set();
  const visit = ({ fields }) =>
    fields.some(({ message: inner }) => {
      if (inner === message.name) return true;
      if (inner === undefined || seen.has(inner)) return false;
      seen.add(inner);
      return visit(messages.find(({ name }) => name === inner));
    });
  return visit(message);
}

function structOf({ name, comment, fields, oneofs }, recursive) {
  const zeros = fields.filter(
    ({ oneof, kind, repeated }) => oneof === undefined && (kind !== "message" || repeated),
  );
  const initial = zeros.map(
    (field) => `${field.property}: ${field.repeated ? "[]" : KINDS[field.kind].zero}`,
  );
  const members = fields.filter(({ oneof }) => oneof !== undefined);
  if (oneofs.length > 1) throw new Error(`${name}: more than one oneof is not supported`);
  return `${docstring(comment)}export interface ${name} {
${fields.map((field) => `${docstring(field.comment)}${declaration(field)};`).join("\n")}
unknown?: Uint8Array;
}

function read${name}(r: Reader, m: ${name} = { ${initial.join(", ")} }): ${name} {
${recursive ? "r.descend();\n" : ""}while (r.more()) {
const tag = r.tag();
switch (tag) {
${fields.map((field) => readCase(name, field)).join("\n")}
default:
m.unknown = r.unknown(tag, m.unknown, ${knownNumbers(name, fields)});
}
}
${recursive ? "r.rise();\n" : ""}return m;
}

${
  members.length === 0
    ? ""
    : `/** Clears the oneof, because its last member replaces the others. */
function clear${name}(m: ${name}): void {
${members.map(({ property }) => `if (m.${property} !== undefined) delete m.${property};`).join("\n")}
}

`
}function write${name}(w: Writer, m: Init<${name}>): void {
w.raw(m.unknown);
${descending(fields).map(writeField).join("\n")}
}
`;
}

function declaration({ property, kind, message, enum: enumType, repeated, oneof }) {
  if (repeated) return `${property}: ${message ?? KINDS[kind].type}[]`;
  if (kind === "message") return `${property}?: ${message}`;
  return `${property}${oneof ? "?" : ""}: ${enumType ?? KINDS[kind].type}`;
}

function readCase(name, field) {
  const { property, tag, kind, message, enum: enumType, repeated, oneof, isRangeEnd } = field;
  if (repeated && kind === "message") {
    return `case ${hexOf(tag)}: m.${property}.push(r.message(read${message})); break;`;
  }
  if (repeated) {
    const packed = kind === "enum" ? packedCase(field) : "";
    return `case ${hexOf(tag)}: m.${property}.push(${KINDS[kind].read}); break;${packed}`;
  }
  if (kind === "message") {
    return `case ${hexOf(tag)}: m.${property} = r.message(read${message}, m.${property}); break;`;
  }
  const cast = enumType ? ` as ${enumType}` : "";
  const value = isRangeEnd ? "r.rangeEnd()" : `${KINDS[kind].read}${cast}`;
  const clear = oneof === undefined ? "" : `clear${name}(m); `;
  return `case ${hexOf(tag)}: ${clear}m.${property} = ${value}; break;`;
}

/** Repeated numbers may be packed or not. */
function packedCase({ property, id, kind }) {
  return `
case ${hexOf(id * 8 + 2)}: {
const outer = r.enter();
while (r.more()) m.${property}.push(${KINDS[kind].read});
r.limit = outer;
break;
}`;
}

function writeField({ property, tag, id, kind, message, repeated, oneof }) {
  if (kind === "message") {
    return `w.${repeated ? "messages" : "message"}(${hexOf(tag)}, write${message}, m.${property});`;
  }
  if (repeated && kind === "enum") return `w.packed(${hexOf(id * 8 + 2)}, m.${property});`;
  const { write } = KINDS[kind];
  if (repeated) return `w.${write}s(${hexOf(tag)}, m.${property});`;
  if (oneof === undefined) return `w.${write}(${hexOf(tag)}, m.${property});`;
  return `if (m.${property} !== undefined) w.${write}Always(${hexOf(tag)}, m.${property});`;
}

function unionOf({ name, comment, fields, oneofs: [oneof] }) {
  const kinds = fields.map((field) => ({ ...field, kind: kindOf(field) }));
  return `${docstring(comment)}export type ${name} =
${kinds.map(({ kind, message }) => `| { kind: "${kind}"; ${oneof}: ${message}; unknown?: Uint8Array }`).join("\n")}
| { kind: "none"; unknown?: Uint8Array };

function read${name}(r: Reader): ${name} {
let m: ${name} = { kind: "none" };
let unknown: Uint8Array | undefined;
while (r.more()) {
const tag = r.tag();
switch (tag) {
${kinds
  .map(
    ({ kind, tag, message }) =>
      `case ${hexOf(tag)}: m = { kind: "${kind}", ${oneof}: r.message(read${message}) }; break;`,
  )
  .join("\n")}
default:
unknown = r.unknown(tag, unknown, ${knownNumbers(name, fields)});
}
}
if (unknown !== undefined) m.unknown = unknown;
return m;
}

function write${name}(w: Writer, m: Init<${name}>): void {
w.raw(m.unknown);
switch (m.kind) {
${kinds
  .map(
    ({ kind, tag, message }) =>
      `case "${kind}": w.message(${hexOf(tag)}, write${message}, m.${oneof} ?? {}); break;`,
  )
  .join("\n")}
}
}
`;
}

/** The kind of a member of a oneof: `deleteRange` for `request_delete_range` of `request`. */
function kindOf({ name, oneof, property }) {
  if (!name.startsWith(`${oneof}_`)) throw new Error(`${name}: its name does not begin with ${oneof}_`);
  const rest = property.slice(oneof.length);
  return rest[0].toLowerCase() + rest.slice(1);
}

/** Arguments of `Reader.unknown`: the last of the consecutive field numbers from 1, and one other number at most. */
function knownNumbers(name, fields) {
  const numbers = new Set(fields.map(({ id }) => id));
  let last = 0;
  while (numbers.delete(last + 1)) last++;
  if (numbers.size > 1) throw new Error(`${name}: more than one number beyond a gap is not supported`);
  return [last, ...numbers].join(", ");
}

function descending(fields) {
  return fields.toSorted((a, b) => b.id - a.id);
}
