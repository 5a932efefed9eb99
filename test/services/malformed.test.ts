import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { packageRoot } from "../../src/ops/package.js";
import { Code } from "../../src/status/error.js";
import { routes } from "../../src/transport/gateway/routes.js";
import { type Answer, ask } from "../gateway/support.js";
import { type EtcdProcess, startEtcd } from "../support/etcd.js";
import { startStore, type TestStore } from "../support/store.js";

/*
 * Malformed requests to EVERY method in proto/, compared with a plain etcd. A proxy must refuse exactly what etcd refuses.
 * etcd's code is INTERNAL with the text of its Go library. Ours is INVALID_ARGUMENT, because gRPC clients, proxies and
 * dashboards take INTERNAL for a fault of the server.
 */

interface Method {
  readonly path: string;
  readonly request: protobuf.Type;
  readonly kind: "unary" | "server" | "bidi";
}

interface Body {
  readonly name: string;
  readonly bytes: Buffer;
  /** False for unusual, but valid messages. */
  readonly malformed: boolean;
}

const FILES = ["rpc", "v3election", "v3lock", "health", "reflection_v1", "reflection_v1alpha"];
const methods = readMethods();

function readMethods(): Method[] {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => join(packageRoot, "proto", target.split("/").pop()!);
  root.loadSync(FILES.map((name) => `${name}.proto`)).resolveAll();
  const found: Method[] = [];
  const collect = (space: protobuf.NamespaceBase): void => {
    for (const each of space.nestedArray) {
      if (each instanceof protobuf.Service)
        found.push(...each.methodsArray.map((m) => describeMethod(each, m)));
      else if (each instanceof protobuf.Namespace) collect(each);
    }
  };
  collect(root);
  return found;
}

function describeMethod(service: protobuf.Service, method: protobuf.Method): Method {
  const kind = method.requestStream ? "bidi" : method.responseStream ? "server" : "unary";
  return {
    path: `${service.fullName.replace(/^\./, "/")}/${method.name}`,
    request: method.resolvedRequestType!,
    kind,
  };
}

const tag = (number: number, wireType: number): number[] => varint(number * 8 + wireType);

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))];
}

/** No message in proto/ has this field. */
const UNKNOWN = 100;
const DEEP = 50_000;

/** Independent of the message's fields. */
const general: Body[] = [
  body("the beginning of a tag", [0x80]),
  body("a tag and no value", tag(UNKNOWN, 0)),
  body("the beginning of a varint", [...tag(UNKNOWN, 0), 0x80]),
  body("a varint of eleven bytes", [...tag(UNKNOWN, 0), ...Array(10).fill(0xff), 1]),
  body("a length beyond the end", [...tag(UNKNOWN, 2), 5, 1]),
  body("half a fixed32", [...tag(UNKNOWN, 5), 1, 2]),
  body("half a fixed64", [...tag(UNKNOWN, 1), 1, 2, 3, 4]),
  body("field number 0", [0, 0]),
  body("wire type 6", [...tag(UNKNOWN, 6), 0]),
  body("wire type 7", [...tag(UNKNOWN, 7), 0]),
  body("a group without its end", tag(UNKNOWN, 3)),
  body("the end of no group", tag(UNKNOWN, 4)),
  body("deep groups without their ends", Array(DEEP).fill(tag(UNKNOWN, 3)).flat()),
  body("an unknown field", [...tag(UNKNOWN, 2), 1, 0xff], false),
  body("an unknown group", [...tag(UNKNOWN, 3), ...tag(1, 0), 7, ...tag(UNKNOWN, 4)], false),
];

function body(name: string, bytes: number[], malformed = true): Body {
  return { name, bytes: Buffer.from(bytes), malformed };
}

/** One for each kind of field of the message, with its first field of that kind. */
function* bodiesOf(request: protobuf.Type): Generator<Body> {
  yield* general;
  const seen = new Set<string>();
  for (const { id, type, resolvedType } of request.fieldsArray) {
    const kind =
      resolvedType instanceof protobuf.Type ? "message" : /^(string|bytes)$/.test(type) ? type : "varint";
    if (seen.has(kind)) continue;
    seen.add(kind);
    if (kind === "varint") {
      yield body(`${type} cut off`, [...tag(id, 0), 0x80]);
      yield body(`${type} as a fixed32`, [...tag(id, 5), 1, 0, 0, 0]);
    } else {
      yield body(`${kind} cut off`, [...tag(id, 2), 9, 65]);
      yield body(`${kind} of negative length`, [...tag(id, 2), ...Array(9).fill(0xff), 1]);
      yield body(`${kind} as a varint`, [...tag(id, 0), 1]);
    }
    yield body(`${kind} as a group`, [...tag(id, 3), ...tag(id, 4)]);
    if (kind === "message") yield body("a malformed message inside", [...tag(id, 2), 1, 0x80]);
    // etcd's generated decoders do not check this.
    if (kind === "string") yield body("a string that is not UTF-8", [...tag(id, 2), 2, 0xff, 0xfe], false);
  }
}

/** With newer protobuf libraries, strings are UTF-8, and known fields with another wire type are unknown fields. */
function isNewer({ path }: Method): boolean {
  return path.startsWith("/grpc.");
}

function expected(method: Method, { name, malformed }: Body): boolean {
  if (!isNewer(method)) return malformed;
  if (name === "a string that is not UTF-8") return true;
  return malformed && !/ as a /.test(name);
}

interface Outcome {
  readonly code: number;
  readonly text: string;
}

const asIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

/** The end of a call, or OK with its first response, because a stream that has one was not refused. */
function call(client: Client, { path, kind }: Method, request: Buffer): Promise<Outcome> {
  const options = { deadline: Date.now() + 60_000 };
  return new Promise((resolve) => {
    if (kind === "unary") {
      client.makeUnaryRequest(path, asIs, asIs, request, options, (error) => {
        resolve({ code: error?.code ?? Code.OK, text: error?.details ?? "" });
      });
      return;
    }
    const stream =
      kind === "server"
        ? client.makeServerStreamRequest(path, asIs, asIs, request, options)
        : client.makeBidiStreamRequest(path, asIs, asIs, options);
    stream.on("data", () => {
      resolve({ code: Code.OK, text: "" });
      stream.cancel();
    });
    stream.on("error", (error: Error & { code?: number; details?: string }) =>
      resolve({ code: error.code ?? Code.UNKNOWN, text: error.details ?? error.message }),
    );
    stream.on("end", () => resolve({ code: Code.OK, text: "" }));
    if (kind === "bidi") (stream as ClientDuplexStream<Buffer, Buffer>).write(request);
  });
}

function isMalformedAtEtcd({ code, text }: Outcome): boolean {
  return code === Code.INTERNAL && text.includes("unmarshal");
}

function isMalformedHere({ code, text }: Outcome): boolean {
  return code === Code.INVALID_ARGUMENT && text.startsWith("malformed message: ");
}

/** Whether a call that is not refused may wait for ever. */
function mayWait({ path, kind }: Method): boolean {
  return kind !== "unary" || /\/(Lock|Campaign)$/.test(path);
}

/** etcd 3.4 does not know the only field of this request. */
function isOddAtEtcd({ path }: Method, { name }: Body): boolean {
  return path.endsWith("/MemberList") && / as a /.test(name);
}

let etcd: EtcdProcess;
let etcdClient: Client;

before(async () => {
  etcd = await startEtcd();
  etcdClient = new Client(etcd.endpoint, credentials.createInsecure());
});

after(async () => {
  etcdClient.close();
  await etcd.remove();
});

for (const transport of ["native", "grpc-js"]) {
  describe(`over ${transport}`, () => {
    let store: TestStore;
    let client: Client;

    before(async () => {
      store = await startStore({ shards: 2, config: { transport } });
      client = new Client(store.endpoint, credentials.createInsecure());
    });

    after(async () => {
      client.close();
      await store.remove();
    });

    test("every method refuses what etcd refuses as malformed, and nothing else", async () => {
      const wrong: string[] = [];
      let compared = 0;
      for (const method of methods) {
        for (const each of bodiesOf(method.request)) {
          const malformed = expected(method, each);
          if (!malformed && mayWait(method)) continue;
          const [theirs, ours] = await Promise.all([
            call(etcdClient, method, each.bytes),
            call(client, method, each.bytes),
          ]);
          const inOwnWords = !/grpc:|stack/.test(ours.text) && ours.code !== Code.INTERNAL;
          const isComparable = theirs.code !== Code.UNIMPLEMENTED && !isOddAtEtcd(method, each);
          if (isComparable) compared++;
          if (
            isMalformedHere(ours) !== malformed ||
            !inOwnWords ||
            (isComparable && isMalformedAtEtcd(theirs) !== malformed)
          ) {
            const label = `${method.path}, ${each.name}`;
            wrong.push(`${label}: ${ours.code} ${ours.text}; etcd: ${theirs.code} ${theirs.text}`);
          }
        }
      }
      assert.deepEqual(wrong, []);
      assert.ok(compared > 700, `${compared} answers were compared`);
    });
  });
}

describe("over the JSON gateway", () => {
  let store: TestStore;

  before(async () => {
    store = await startStore({ shards: 2 });
  });
  after(() => store.remove());

  test("every path refuses malformed JSON with etcd's status and code", async () => {
    const wrong: string[] = [];
    const byPath = new Map(methods.map((method) => [method.path, method]));
    for (const [path, grpc] of routes) {
      if (!path.startsWith("/v3/")) continue;
      const method = byPath.get(grpc)!;
      for (const text of textsOf(method.request)) {
        const [theirs, ours] = await Promise.all([
          ask(etcd.endpoint, { path, body: text, lines: 1 }),
          ask(store.endpoint, { path, body: text, lines: 1 }),
        ]);
        const isRefused = ({ status, text }: Answer) =>
          status === 400 && codeOf(text) === Code.INVALID_ARGUMENT;
        // etcd responds 500 for streams, which would mark the endpoint as dead. Older ones know fewer paths and fields.
        const isComparable =
          method.kind !== "bidi" && theirs.status !== 404 && !/hashedPassword|linearizable/.test(text);
        if (!isRefused(ours) || (isComparable && !isRefused(theirs))) {
          wrong.push(`${path} ${text}: ${ours.status} ${ours.text}; etcd: ${theirs.status} ${theirs.text}`);
        }
      }
    }
    assert.deepEqual(wrong, []);
  });
});

/** Texts that are not JSON, or not JSON of this message. */
function textsOf(request: protobuf.Type): string[] {
  const texts = ["{", '{"', "[]", "nul", '{"x"}', '{"x":[}'];
  for (const { name, type, repeated, resolvedType } of request.fieldsArray) {
    const value = (json: string) => texts.push(`{"${name}":${repeated ? `[${json}]` : json}}`);
    if (resolvedType instanceof protobuf.Type) value("5");
    else if (resolvedType !== null) value('"NO_SUCH_NAME"');
    else if (type === "bytes") for (const wrong of ['"Z"', '"Zm 9v"', '"Zm9v="', "5"]) value(wrong);
    else if (type === "string") value("5");
    else if (type === "bool") value('"yes"');
    else for (const wrong of ['"abc"', "5.5", "true"]) value(wrong);
  }
  return texts;
}

/** The code of a unary method's error or, inside `error`, of a stream's. */
function codeOf(text: string): number | undefined {
  const { code, error } = JSON.parse(text) as {
    code?: number;
    error?: string | { grpc_code?: number; code?: number };
  };
  return code ?? (typeof error === "object" ? (error.grpc_code ?? error.code) : undefined);
}
