// The parts of proto/ that the gateway, reflection and the paths of methods need at run time.

/** `generated/schema.ts`: messages, enums and services of all files by full name. */
export function schemaFile(files) {
  const all = (member) => files.flatMap((file) => file[member]);
  return `/** A field of a message. */
export interface FieldSchema {
  readonly name: string;
  readonly id: number;
  /** A scalar type of protobuf, or the full name of a message or an enum. */
  readonly type: string;
  readonly repeated?: true;
  /** Name of the oneof that it is in. */
  readonly oneof?: string;
}

export interface MethodSchema {
  /** Full names of messages. */
  readonly request: string;
  readonly response: string;
  readonly requestStream?: true;
  readonly responseStream?: true;
}

/** Fields by the full name of their message. */
export const messages: Readonly<Record<string, readonly FieldSchema[]>> = {
${all("messages").map(messageOf).join("\n")}
};

/** Numbers by name, by the full name of the enum. */
export const enums: Readonly<Record<string, Readonly<Record<string, number>>>> = {
${all("enums").map(enumOf).join("\n")}
};

/** Methods by name, by the full name of the service. */
export const services: Readonly<Record<string, Readonly<Record<string, MethodSchema>>>> = {
${all("services").map(serviceOf).join("\n")}
};
`;
}

function messageOf({ fullName, fields }) {
  const members = fields.map(
    ({ name, id, type, repeated, oneof }) =>
      `{ name: "${name}", id: ${id}, type: "${type}"${repeated ? ", repeated: true" : ""}${
        oneof ? `, oneof: "${oneof}"` : ""
      } },`,
  );
  return `"${fullName}": [${members.join("\n")}],`;
}

function enumOf({ fullName, values }) {
  const members = Object.entries(values).map(([name, number]) => `${name}: ${number}`);
  return `"${fullName}": { ${members.join(", ")} },`;
}

function serviceOf({ fullName, methods }) {
  const members = methods.map(
    ({ name, request, response, requestStream, responseStream }) =>
      `${name}: { request: "${request}", response: "${response}"${
        requestStream ? ", requestStream: true" : ""
      }${responseStream ? ", responseStream: true" : ""} },`,
  );
  return `"${fullName}": {\n${members.join("\n")}\n},`;
}

/** `generated/descriptors.ts`: the files as reflection serves them. */
export function descriptorsFile(files) {
  const members = files.map(
    ({ name, space, imports, descriptor }) => `{
name: "${name}", space: "${space}", imports: ${JSON.stringify(imports)},
descriptor: "${descriptor.toString("base64")}",
},`,
  );
  return `export interface FileSchema {
  readonly name: string;
  /** The package of all that is in it. */
  readonly space: string;
  /** Names of files. */
  readonly imports: readonly string[];
  /** Base64 of the encoded \`FileDescriptorProto\`. */
  readonly descriptor: string;
}

/** Every file in proto/. */
export const files: readonly FileSchema[] = [
${members.join("\n")}
];
`;
}

/** `generated/paths.ts`: full gRPC paths, by service and method. */
export function pathsFile(services) {
  return services
    .map(({ name, fullName, methods }) => {
      const members = methods.map((method) => `${method.name}: "/${fullName}/${method.name}",`);
      return `export const ${name} = {\n${members.join("\n")}\n} as const;\n`;
    })
    .join("\n");
}
