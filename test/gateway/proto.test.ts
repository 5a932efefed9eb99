import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import protobuf from "protobufjs";
import { packageRoot } from "../../src/ops/package.js";
import { ProtoFiles } from "../../src/transport/gateway/proto.js";

function read(...sources: string[]): ProtoFiles {
  const files = new ProtoFiles();
  for (const source of sources) files.read(source);
  return files;
}

function* objectsIn(space: protobuf.NamespaceBase): Generator<protobuf.ReflectionObject> {
  for (const object of space.nestedArray) {
    yield object;
    if (object instanceof protobuf.Namespace) yield* objectsIn(object);
  }
}

test("our own files are read as protobufjs reads them", () => {
  const folder = join(packageRoot, "proto");
  const sources = readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
  const files = read(...sources);
  const root = new protobuf.Root();
  for (const source of sources) protobuf.parse(source, root, { keepCase: true });
  root.resolveAll();
  const counts = { messages: 0, enums: 0, methods: 0 };
  for (const object of objectsIn(root)) {
    const name = object.fullName.slice(1);
    if (object instanceof protobuf.Type) {
      counts.messages++;
      assert.deepEqual(
        files.messages.get(name)?.map((field) => ({
          ...field,
          type: files.resolve(field.type, name) ?? field.type,
        })),
        object.fieldsArray.map((field) => ({
          name: field.name,
          id: field.id,
          type: field.resolvedType?.fullName.slice(1) ?? field.type,
          repeated: field.repeated,
          oneof: field.partOf?.name,
        })),
      );
    } else if (object instanceof protobuf.Enum) {
      counts.enums++;
      assert.deepEqual(Object.fromEntries(files.enums.get(name)!), { ...object.values });
    } else if (object instanceof protobuf.Service) {
      counts.methods += object.methodsArray.length;
      for (const method of object.methodsArray) {
        const found = files.methods.find((each) => each.service === name && each.name === method.name)!;
        assert.equal(files.resolve(found.request, name), method.resolvedRequestType!.fullName.slice(1));
        assert.equal(files.resolve(found.response, name), method.resolvedResponseType!.fullName.slice(1));
        assert.equal(found.requestStream, method.requestStream === true);
        assert.equal(found.responseStream, method.responseStream === true);
      }
    }
  }
  const { messages, enums, methods } = files;
  assert.deepEqual({ messages: messages.size, enums: enums.size, methods: methods.length }, counts);
  assert.ok(counts.messages > 100 && counts.enums > 5 && counts.methods > 40, JSON.stringify(counts));
});

test("a name means the innermost definition that is in reach", () => {
  const files = read(
    "package a; message T { message T { T x = 1; } enum E { A = 0; } T y = 1; } message E {}",
    "package b; message U { a.T.E z = 1; }",
  );
  assert.equal(files.resolve("T", "a.T.T"), "a.T.T");
  assert.equal(files.resolve("T", "a"), "a.T");
  assert.equal(files.resolve("E", "a.T"), "a.T.E");
  assert.equal(files.resolve("E", "a.E"), "a.E");
  assert.equal(files.resolve("a.T.E", "b.U"), "a.T.E");
  assert.equal(files.resolve("T", "b.U"), undefined);
  assert.equal(files.resolve("string", "a.T"), undefined);
});

test("what the reader does not know of the language is refused", () => {
  for (const source of [
    'syntax = "proto2";',
    "message M { map<string, int32> m = 1; }",
    "message M { reserved 1; }",
    "message M { string s = 1 [deprecated = true]; }",
    "message M { option x = true; }",
    "message M { oneof o { option x = true; } }",
    "enum E { A = -1; }",
    "service S { rpc F(M) returns (M) {} }",
    "service S { option x = true; }",
    "extend M { }",
    "/* x */ message M { }",
    "message M { string s = 1;",
    "message",
  ]) {
    assert.throws(() => read(source), /is not understood/, source);
  }
});
