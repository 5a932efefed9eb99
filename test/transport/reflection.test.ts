import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import descriptor from "protobufjs/ext/descriptor.js";
import { Health } from "../../src/services/health.js";
import { Code } from "../../src/status/error.js";
import { serveHttp2 } from "../../src/transport/http2/serve.js";
import { createReflection } from "../../src/transport/reflection/service.js";
import type { GrpcServer } from "../../src/transport/server.js";
import * as paths from "../../src/wire/paths.js";
import { loadProto } from "../support/proto.js";

/* Reflection as grpcurl uses it: every service can be found, and the descriptors are complete. */

let server: GrpcServer;
let client: Client;

before(async () => {
  server = await serveHttp2(createReflection(), { listen: ["127.0.0.1:0"], maxReceiveBytes: 1_000_000 });
  client = new Client(server.addresses[0]!, credentials.createInsecure());
});
after(async () => {
  client.close();
  await server.shutdown(0);
});

/** Everything in proto/. */
const declared = loadProto(
  "rpc.proto",
  "v3lock.proto",
  "v3election.proto",
  "health.proto",
  "reflection_v1.proto",
  "reflection_v1alpha.proto",
);
const same = (value: Buffer): Buffer => value;
const methods = [
  ...Object.values(paths).flatMap((service) => Object.values(service)),
  ...Object.values(Health),
];

interface Response {
  readonly valid_host: string;
  readonly original_request: Record<string, unknown>;
  readonly file_descriptor_response?: { readonly file_descriptor_proto: readonly Uint8Array[] };
  readonly all_extension_numbers_response?: { readonly base_type_name: string };
  readonly list_services_response?: { readonly service: readonly { readonly name: string }[] };
  readonly error_response?: { readonly error_code: number; readonly error_message: string };
}

/** Sends all requests on one stream. */
async function ask(version: string, ...requests: object[]): Promise<Response[]> {
  const space = `grpc.reflection.${version}`;
  const [request, response] = ["Request", "Response"].map((end) =>
    declared.lookupType(`${space}.ServerReflection${end}`),
  );
  const path = `/${space}.ServerReflection/ServerReflectionInfo`;
  const stream: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(path, same, same);
  for (const each of requests) stream.write(Buffer.from(request.encode(request.fromObject(each)).finish()));
  stream.end();
  const answers: Response[] = [];
  for await (const bytes of stream) answers.push(response.toObject(response.decode(bytes)) as Response);
  return answers;
}

/** A root made of nothing but the files in a response. */
function rootOf({ file_descriptor_response: found }: Response): protobuf.Root {
  const file = found!.file_descriptor_proto.map((bytes) => descriptor.FileDescriptorProto.decode(bytes));
  const names = new Set(file.map(({ name }) => name));
  for (const { dependency } of file) {
    for (const imported of dependency as string[]) assert.ok(names.has(imported), `${imported} is included`);
  }
  const root = protobuf.Root.fromDescriptor(descriptor.FileDescriptorSet.encode({ file }).finish());
  root.resolveAll();
  return root;
}

for (const version of ["v1", "v1alpha"]) {
  test(`${version}: every service is listed, and its methods are found with all their messages`, async () => {
    const [{ list_services_response: list }] = await ask(version, { list_services: "*" });
    const listed = list!.service.map(({ name }) => name);
    const served = new Set(methods.map((path) => path.slice(1).split("/")[0]));
    assert.deepEqual(
      listed.filter((name) => !name.startsWith("grpc.reflection.")).sort(),
      [...served].sort(),
    );

    const symbols = methods.map((path) => path.slice(1).replace("/", "."));
    const answers = await ask(version, ...symbols.map((symbol) => ({ file_containing_symbol: symbol })));
    for (const [i, answer] of answers.entries()) {
      const [service, method] = methods[i].slice(1).split("/");
      const { resolvedRequestType, resolvedResponseType } =
        rootOf(answer).lookupService(service).methods[method];
      for (const type of [resolvedRequestType!, resolvedResponseType!]) {
        const fields = (each: protobuf.Type) =>
          each.fieldsArray.map(({ name, id, type }) => [protobuf.util.camelCase(name), id, type]);
        assert.deepEqual(fields(type), fields(declared.lookupType(type.fullName)), type.fullName);
      }
    }
  });
}

test("oneofs, repeated fields, enums, streams and imports are as in proto/", async () => {
  const symbols = [
    "etcdserverpb.Compare",
    "etcdserverpb.WatchCreateRequest.FilterType",
    "v3electionpb.Election",
  ];
  const [compare, filter, election] = await ask(
    "v1",
    ...symbols.map((symbol) => ({ file_containing_symbol: symbol })),
  );
  const { oneofs, fields } = rootOf(compare).lookupType("etcdserverpb.Compare");
  assert.deepEqual(oneofs!.target_union.oneof, [
    "version",
    "createRevision",
    "modRevision",
    "value",
    "lease",
  ]);
  assert.equal(fields.rangeEnd.id, 64);
  assert.ok(rootOf(filter).lookupType("etcdserverpb.RangeResponse").fields.kvs.repeated);
  assert.deepEqual({ ...rootOf(filter).lookupEnum(symbols[1]).values }, { NOPUT: 0, NODELETE: 1 });
  const observe = rootOf(election).lookupService("v3electionpb.Election").methods.Observe;
  assert.deepEqual([observe.requestStream ?? false, observe.responseStream], [false, true]);
  assert.equal(observe.resolvedResponseType!.fields.kv.resolvedType!.fullName, ".mvccpb.KeyValue");
});

test("files by name, and errors for unknown names", async () => {
  const requests = [
    { host: "h", file_by_filename: "kv.proto" },
    { file_by_filename: "../package.json" },
    { file_containing_symbol: "etcdserverpb.Nothing" },
    { file_containing_symbol: "" },
    { all_extension_numbers_of_type: "etcdserverpb.PutRequest" },
    { all_extension_numbers_of_type: "etcdserverpb.Nothing" },
    { file_containing_extension: { containing_type: "etcdserverpb.PutRequest", extension_number: 7 } },
    { host: "h" },
  ];
  const answers = await ask("v1", ...requests);
  const [file, , , , numbers] = answers;
  assert.deepEqual([file.valid_host, file.original_request], ["h", requests[0]]);
  assert.deepEqual(Object.keys(rootOf(file).lookupType("mvccpb.KeyValue").fields).length, 6);
  assert.equal(numbers.all_extension_numbers_response?.base_type_name, "etcdserverpb.PutRequest");
  assert.deepEqual(
    answers.map(({ error_response: error }) => error?.error_code),
    [undefined, 5, 5, 5, undefined, 5, 5, 3],
  );
});

test("a malformed request ends the stream", async () => {
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const stream = client.makeBidiStreamRequest(path, same, same);
  stream.write(Buffer.of(0x0a, 0x7f));
  const error = await new Promise<{ code: number }>((resolve) => stream.once("error", resolve as never));
  assert.equal(error.code, Code.INVALID_ARGUMENT);
});
