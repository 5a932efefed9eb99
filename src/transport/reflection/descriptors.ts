import { type FileSchema, files } from "../../wire/generated/descriptors.js";
import { enums, messages, services } from "../../wire/generated/schema.js";

/** The served API in the form of gRPC's reflection. */
export interface Descriptors {
  /** Full names, sorted. */
  readonly services: readonly string[];
  /** A file and all its imports, as encoded `FileDescriptorProto`s; undefined for an unknown name. */
  file(name: string): readonly Uint8Array[] | undefined;
  /** The name of the file that defines a symbol: a service, method, message, field or enum. */
  fileOf(symbol: string): string | undefined;
  /** Whether a full name is a message's. */
  isType(name: string): boolean;
}

/** Descriptors of everything in `proto/`. */
export function loadDescriptors(): Descriptors {
  const byName = new Map(files.map((file) => [file.name, file]));
  const symbols = allSymbols();
  return {
    services: Object.keys(services).sort(),
    file: (name) => withImports(byName, name),
    fileOf: (symbol) => (symbols.has(symbol) ? fileWith(symbol) : undefined),
    isType: (name) => Object.hasOwn(messages, name),
  };
}

function allSymbols(): ReadonlySet<string> {
  const symbols = new Set(Object.keys(enums));
  for (const [service, methods] of Object.entries(services)) {
    symbols.add(service);
    for (const method of Object.keys(methods)) symbols.add(`${service}.${method}`);
  }
  for (const [message, fields] of Object.entries(messages)) {
    symbols.add(message);
    for (const { name } of fields) symbols.add(`${message}.${name}`);
  }
  return symbols;
}

/** Finds the file by its package: no two files share one. */
function fileWith(symbol: string): string | undefined {
  return files.find(({ space }) => symbol.startsWith(`${space}.`))?.name;
}

function withImports(byName: ReadonlyMap<string, FileSchema>, name: string): Uint8Array[] | undefined {
  const first = byName.get(name);
  if (first === undefined) return undefined;
  const wanted = new Set([first]);
  for (const { imports } of wanted) {
    for (const imported of imports) {
      const file = byName.get(imported);
      if (file === undefined) throw new Error(`${name} imports ${imported}, which has no descriptor`);
      wanted.add(file);
    }
  }
  return Array.from(wanted, ({ descriptor }) => Buffer.from(descriptor, "base64"));
}
