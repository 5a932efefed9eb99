import type { Code } from "../../status/error.js";
import * as tags from "../../wire/generated/tags.js";
import { Reader } from "../../wire/reader.js";
import { strictText } from "../../wire/strictText.js";
import { type Writer, writer } from "../../wire/writer.js";

/* The messages of gRPC's server reflection. Both versions have the same fields and numbers. */

/** `ServerReflectionRequest`. */
export interface Request {
  readonly host: string;
  readonly question: Question | undefined;
}

/** The member that is set in the oneof of `ServerReflectionRequest`. */
export type Question =
  | { readonly kind: "file" | "symbol" | "extensionNumbers" | "services"; readonly name: string }
  | { readonly kind: "extension"; readonly type: string; readonly number: number };

/** The member that is set in the oneof of `ServerReflectionResponse`. */
export type Answer =
  | { readonly kind: "files"; readonly files: readonly Uint8Array[] }
  | { readonly kind: "noExtensions"; readonly type: string }
  | { readonly kind: "services"; readonly names: readonly string[] }
  | { readonly kind: "error"; readonly code: Code; readonly message: string };

/**
 * Throws INVALID_ARGUMENT for malformed bytes. As in newer protobuf libraries, fields with another wire type count as
 * unknown, and strings must be UTF-8.
 */
export function decodeRequest(bytes: Uint8Array): Request {
  const tag = tags.ServerReflectionRequest;
  const r = new Reader(bytes);
  const text = () => strictText(r.data());
  let host = "";
  let question: Question | undefined;
  while (r.more()) {
    const found = r.tag();
    switch (found) {
      case tag.host:
        host = text();
        break;
      case tag.fileByFilename:
        question = { kind: "file", name: text() };
        break;
      case tag.fileContainingSymbol:
        question = { kind: "symbol", name: text() };
        break;
      case tag.fileContainingExtension:
        question = r.message(readExtension);
        break;
      case tag.allExtensionNumbersOfType:
        question = { kind: "extensionNumbers", name: text() };
        break;
      case tag.listServices:
        question = { kind: "services", name: text() };
        break;
      default:
        r.skip(found);
    }
  }
  return { host, question };
}

function readExtension(r: Reader): Question {
  const tag = tags.ExtensionRequest;
  let type = "";
  let number = 0;
  while (r.more()) {
    const found = r.tag();
    if (found === tag.containingType) type = strictText(r.data());
    else if (found === tag.extensionNumber) number = r.int32();
    else r.skip(found);
  }
  return { kind: "extension", type, number };
}

/** Encodes the `ServerReflectionResponse` to a request that was received as `original`. */
export function encodeResponse(original: Uint8Array, { host }: Request, answer: Answer): Uint8Array {
  return writer.encode(writeResponse, { original, host, answer });
}

interface Response {
  readonly original: Uint8Array;
  readonly host: string;
  readonly answer: Answer;
}

/** Writes the last field first, as `Writer` requires. */
function writeResponse(w: Writer, { original, host, answer }: Response): void {
  const tag = tags.ServerReflectionResponse;
  switch (answer.kind) {
    case "files":
      w.message(tag.fileDescriptorResponse, writeFiles, answer.files);
      break;
    case "noExtensions":
      w.message(tag.allExtensionNumbersResponse, writeNoExtensions, answer.type);
      break;
    case "services":
      w.message(tag.listServicesResponse, writeServices, answer.names);
      break;
    case "error":
      w.message(tag.errorResponse, writeError, answer);
  }
  w.dataAlways(tag.originalRequest, original);
  w.text(tag.validHost, host);
}

function writeFiles(w: Writer, files: readonly Uint8Array[]): void {
  w.datas(tags.FileDescriptorResponse.fileDescriptorProto, files);
}

function writeNoExtensions(w: Writer, type: string): void {
  w.text(tags.ExtensionNumberResponse.baseTypeName, type);
}

function writeServices(w: Writer, names: readonly string[]): void {
  w.messages(tags.ListServiceResponse.service, writeService, names);
}

function writeService(w: Writer, name: string): void {
  w.text(tags.ServiceResponse.name, name);
}

function writeError(w: Writer, { code, message }: Extract<Answer, { kind: "error" }>): void {
  w.text(tags.ErrorResponse.errorMessage, message);
  w.int64(tags.ErrorResponse.errorCode, code);
}
