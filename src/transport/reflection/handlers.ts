import type { Message, Type } from "protobufjs";
import type { ServerStream, StreamHandler } from "../../rpc/call.js";
import { NONE, type Service } from "../../rpc/service.js";
import { Code, StatusError } from "../../status/error.js";
import { malformed, Reader } from "../../wire/reader.js";
import type { Descriptors } from "./descriptors.js";

/** Both versions of the service, which say the same. */
const PACKAGES = ["grpc.reflection.v1", "grpc.reflection.v1alpha"];

/** `ServerReflectionRequest`: at most one of the members beside `host` is there. */
interface Request {
  readonly host?: string;
  readonly file_by_filename?: string;
  readonly file_containing_symbol?: string;
  readonly file_containing_extension?: {
    readonly containing_type?: string;
    readonly extension_number?: number;
  };
  readonly all_extension_numbers_of_type?: string;
  readonly list_services?: string;
}

/**
 * gRPC's server reflection over `proto/`, for grpcurl and the like; etcd has none. The files, and the library for
 * them, are read with the first call.
 */
export function createReflection(): Service {
  let loading: Promise<Descriptors> | undefined;
  const load = async () => (await import("./descriptors.js")).loadDescriptors();
  const stream = new Map<string, StreamHandler>(
    PACKAGES.map((space) => [
      `/${space}.ServerReflection/ServerReflectionInfo`,
      (stream) => {
        loading ??= load();
        reflect(stream, loading, space);
      },
    ]),
  );
  return { unary: NONE, stream };
}

function reflect(stream: ServerStream, loading: Promise<Descriptors>, space: string): void {
  const loaded = (then: (descriptors: Descriptors) => void) => {
    loading.then(then).catch((reason) => stream.end(StatusError.from(reason)));
  };
  stream.onMessage((bytes) => loaded((descriptors) => reply(stream, descriptors, space, bytes)));
  stream.onDrain(() => stream.resume());
  stream.onEnd(() => loaded(() => stream.end()));
}

function reply(stream: ServerStream, descriptors: Descriptors, space: string, bytes: Uint8Array): void {
  const requests = descriptors.type(`${space}.ServerReflectionRequest`);
  const responses = descriptors.type(`${space}.ServerReflectionResponse`);
  let original: Message;
  try {
    checkFields(bytes);
    original = requests.decode(bytes);
  } catch (reason) {
    stream.end(reason instanceof StatusError ? reason : malformed((reason as Error).message));
    return;
  }
  const request = requests.toObject(original) as Request;
  const response = {
    valid_host: request.host,
    original_request: original,
    ...answer(descriptors, request),
  };
  if (!stream.send([encode(responses, response)])) stream.pause();
}

/** The library lets longer varints pass, and nests a call for each group. */
function checkFields(bytes: Uint8Array): void {
  const reader = new Reader(bytes);
  while (reader.more()) reader.skip(reader.tag());
}

function encode(type: Type, message: object): Uint8Array {
  return type.encode(type.fromObject(message)).finish();
}

function answer(descriptors: Descriptors, request: Request): object {
  if (request.list_services !== undefined) {
    return { list_services_response: { service: descriptors.services.map((name) => ({ name })) } };
  }
  if (request.file_by_filename !== undefined) {
    const name = request.file_by_filename;
    return fileResponse(descriptors.file(name)) ?? notFound(`file ${name}`);
  }
  if (request.file_containing_symbol !== undefined) {
    const symbol = request.file_containing_symbol;
    return fileResponse(descriptors.file(descriptors.fileOf(symbol) ?? "")) ?? notFound(`symbol ${symbol}`);
  }
  // Nothing in etcd's API is extended.
  if (request.file_containing_extension !== undefined) {
    const { containing_type = "", extension_number = 0 } = request.file_containing_extension;
    return notFound(`extension ${extension_number} of ${containing_type}`);
  }
  if (request.all_extension_numbers_of_type !== undefined) {
    const type = request.all_extension_numbers_of_type;
    if (!descriptors.isType(type)) return notFound(`type ${type}`);
    return { all_extension_numbers_response: { base_type_name: type } };
  }
  const error = {
    error_code: Code.INVALID_ARGUMENT,
    error_message: "etcd-braid: a reflection request of no kind",
  };
  return { error_response: error };
}

function fileResponse(files: readonly Uint8Array[] | undefined): object | undefined {
  return files && { file_descriptor_response: { file_descriptor_proto: files } };
}

function notFound(what: string): object {
  return {
    error_response: { error_code: Code.NOT_FOUND, error_message: `etcd-braid: ${what} is not known` },
  };
}
