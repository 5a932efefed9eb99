import type { ServerStream, StreamHandler } from "../../rpc/call.js";
import { NONE, type Service } from "../../rpc/service.js";
import { Code, StatusError } from "../../status/error.js";
import type { Descriptors } from "./descriptors.js";
import { type Answer, decodeRequest, encodeResponse, type Question, type Request } from "./messages.js";

/** The two versions of the service, whose messages are the same. */
const PACKAGES = ["grpc.reflection.v1", "grpc.reflection.v1alpha"];

/**
 * gRPC's server reflection over `proto/`, for grpcurl and similar tools; etcd has none. The descriptors are loaded by the
 * first call.
 */
export function createReflection(): Service {
  let loading: Promise<Descriptors> | undefined;
  const load = async () => (await import("./descriptors.js")).loadDescriptors();
  const reflect: StreamHandler = (stream) => {
    loading ??= load();
    serve(stream, loading);
  };
  const paths = PACKAGES.map((space) => `/${space}.ServerReflection/ServerReflectionInfo`);
  return { unary: NONE, stream: new Map(paths.map((path) => [path, reflect])) };
}

function serve(stream: ServerStream, loading: Promise<Descriptors>): void {
  const loaded = (then: (descriptors: Descriptors) => void) => {
    loading.then(then).catch((reason) => stream.end(StatusError.from(reason)));
  };
  stream.onMessage((bytes) => loaded((descriptors) => reply(stream, descriptors, bytes)));
  stream.onDrain(() => stream.resume());
  stream.onEnd(() => loaded(() => stream.end()));
}

function reply(stream: ServerStream, descriptors: Descriptors, bytes: Uint8Array): void {
  let request: Request;
  try {
    request = decodeRequest(bytes);
  } catch (reason) {
    stream.end(StatusError.from(reason));
    return;
  }
  const response = encodeResponse(bytes, request, answer(descriptors, request.question));
  if (!stream.send([response])) stream.pause();
}

function answer(descriptors: Descriptors, question: Question | undefined): Answer {
  switch (question?.kind) {
    case "services":
      return { kind: "services", names: descriptors.services };
    case "file":
      return filesOf(descriptors, question.name) ?? notFound(`file ${question.name}`);
    case "symbol":
      return filesOf(descriptors, descriptors.fileOf(question.name)) ?? notFound(`symbol ${question.name}`);
    // etcd's API has no extensions.
    case "extension":
      return notFound(`extension ${question.number} of ${question.type}`);
    case "extensionNumbers":
      return descriptors.isType(question.name)
        ? { kind: "noExtensions", type: question.name }
        : notFound(`type ${question.name}`);
    case undefined:
      return { kind: "error", code: Code.INVALID_ARGUMENT, message: "etcd-braid: empty reflection request" };
  }
}

function filesOf(descriptors: Descriptors, name: string | undefined): Answer | undefined {
  const files = name === undefined ? undefined : descriptors.file(name);
  return files && { kind: "files", files };
}

function notFound(what: string): Answer {
  return { kind: "error", code: Code.NOT_FOUND, message: `etcd-braid: unknown ${what}` };
}
