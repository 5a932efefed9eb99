import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import { readProto } from "../../ops/package.js";

/** What is served, as gRPC's reflection tells it. */
export interface Descriptors {
  /** Full names, sorted. */
  readonly services: readonly string[];
  /** A file and all that it imports, as encoded `FileDescriptorProto`s; undefined for an unknown name. */
  file(name: string): readonly Uint8Array[] | undefined;
  /** The name of the file that defines a symbol: a service, method, message, field, enum or enum value. */
  fileOf(symbol: string): string | undefined;
  /** A message type by its full name, which must be there. */
  type(name: string): protobuf.Type;
  isType(name: string): boolean;
}

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

interface File {
  readonly name: string;
  readonly imports: readonly string[];
  readonly bytes: Uint8Array;
}

/** Reads `proto/`, one package in each file. */
export function loadDescriptors(): Descriptors {
  const root = new protobuf.Root();
  const parsed = FILES.map((name) => {
    const source = readProto(name);
    const { package: space, imports = [] } = protobuf.parse(source, root, { keepCase: true });
    return { name, space: space!, imports };
  });
  root.resolveAll();
  const { file: descriptions } = root.toDescriptor("proto3");
  const files = new Map<string, File>();
  const symbols = new Map<string, string>();
  const services: string[] = [];
  for (const { name, space, imports } of parsed) {
    const description = descriptions.find((file) => file.package === space)!;
    Object.assign(description, { name, dependency: imports });
    files.set(name, { name, imports, bytes: descriptor.FileDescriptorProto.encode(description).finish() });
    for (const object of objectsIn(root.lookup(space) as protobuf.Namespace)) {
      symbols.set(object.fullName.slice(1), name);
      if (object instanceof protobuf.Service) services.push(object.fullName.slice(1));
    }
  }
  return {
    services: services.sort(),
    file: (name) => withImports(files, name),
    fileOf: (symbol) => symbols.get(symbol),
    type: (name) => root.lookupType(name),
    isType: (name) => symbols.has(name) && root.lookup(name) instanceof protobuf.Type,
  };
}

/** Everything inside a namespace that has a name, at any depth. */
function objectsIn(space: protobuf.NamespaceBase): protobuf.ReflectionObject[] {
  return space.nestedArray.flatMap((object) => {
    if (object instanceof protobuf.Service) return [object, ...object.methodsArray];
    if (object instanceof protobuf.Type) return [object, ...object.fieldsArray, ...objectsIn(object)];
    return [object];
  });
}

function withImports(files: ReadonlyMap<string, File>, name: string): Uint8Array[] | undefined {
  if (!files.has(name)) return undefined;
  const wanted = new Set([name]);
  for (const each of wanted) for (const imported of files.get(each)!.imports) wanted.add(imported);
  return [...wanted].map((each) => files.get(each)!.bytes);
}
