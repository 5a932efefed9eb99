// Declarations of proto/ for run time: for the gateway, for reflection, and as paths of methods.

/** `generated/schema.ts`: messages, enums and services of all files by full name. */
export function schemaFile(files) {
  const all = (member) => files.flatMap((file) => file[member]);
  return `/** A field of a message. */
export interface FieldSchema {
  readonly name: string;
  readonly id: number;
  /** A protobuf scalar type, or the full name of a message or enum. */
  readonly type: string;
  readonly repeated?: true;
  /** Name of its oneof. */
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

/** `generated/descriptors.ts`: the descriptors that reflection serves. */
export function descriptorsFile(files) {
  const members = files.map(
    ({ name, space, imports, descriptor }) => `{
name: "${name}", space: "${space}", imports: ${JSON.stringify(imports)},
descriptor: "${descriptor.toString("base64")}",
},`,
  );
  return `export interface FileSchema {
  readonly name: string;
  /** Package of the file. */
  readonly space: string;
  /** Names of the imported files. */
  readonly imports: readonly string[];
  /** Base64 of the encoded \`FileDescriptorProto\`. */
  readonly descriptor: string;
}

/** All files in proto/. */
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
