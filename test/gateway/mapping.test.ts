import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { encodeJson } from "../../src/transport/gateway/encode.js";
import { renderMessage, renderPieces } from "../../src/transport/gateway/render.js";
import { routes } from "../../src/transport/gateway/routes.js";
import { type Field, loadMethods, type MessageType } from "../../src/transport/gateway/schema.js";
import * as paths from "../../src/wire/paths.js";
import { newSeed, random } from "../watch/random.js";
import { root } from "../wire/reference.js";

const methods = loadMethods();
const request = (path: string) => methods.get(path)!.request;
const hex = (type: MessageType, text: string) => Buffer.from(encodeJson(type, text)).toString("hex");
const range = request(paths.KV.Range);

test("every method of etcd has an HTTP path and a schema", () => {
  const all = Object.values(paths).flatMap((service): string[] => Object.values(service));
  assert.deepEqual([...new Set(routes.values())].sort(), all.sort());
  assert.deepEqual([...methods.keys()].sort(), all.sort());
  assert.equal(routes.get("/v3alpha/kv/lease/revoke"), paths.Lease.LeaseRevoke);
});

test("texts that are read as the same message", () => {
  const same: [MessageType, ...string[]][] = [
    [
      range,
      "",
      "null",
      " {} ",
      '{"key":null}',
      '{"key":"","limit":0,"serializable":false}',
      '{"bogus":[{"a":null}]}',
    ],
    [
      range,
      '{"key":"Zm9v"}',
      '{"\\u006bey":"Zm9v"}',
      '{"key":"Zm9\\nv"}',
      '{"key":"Zm9v"} more',
      '\t{"key" : "Zm9v"\n}',
    ],
    [range, '{"key":"+/8="}', '{"key":"-_8="}', '{"key":"-_8"}', '{"key":"\\u002b/8"}'],
    [range, '{"range_end":"AA=="}', '{"rangeEnd":"AA=="}', '{"rangeEnd":"AA==","range_end":"BB=="}'],
    [
      range,
      '{"limit":12}',
      '{"limit":"12"}',
      '{"limit":" 12"}',
      '{"limit":12.0}',
      '{"limit":1.2e1}',
      '{"limit":1,"limit":12}',
    ],
    [range, '{"sort_order":"DESCEND"}', '{"sortOrder":2}'],
    [
      request(paths.KV.Txn),
      '{"success":[{"request_put":{}}]}',
      '{"success":[{"requestPut":{},"request_range":{}}]}',
    ],
    [
      request(paths.KV.Txn),
      '{"compare":[{"target":"MOD","mod_revision":"7"}]}',
      '{"compare":[{"result":0,"target":2,"version":0,"value":"","modRevision":7,"lease":"0"}]}',
    ],
  ];
  for (const [type, first, ...others] of same) {
    for (const other of others) assert.equal(hex(type, other), hex(type, first), other);
  }
});

test("integers keep all their digits", () => {
  const lease = request(paths.Lease.LeaseRevoke);
  for (const id of ["7587862094405862011", "-9223372036854775808", "9007199254740993", "-1", "0"]) {
    const expected = id === "0" ? {} : { ID: id };
    assert.deepEqual(JSON.parse(renderMessage(lease, encodeJson(lease, `{"ID":${id}}`))), expected);
    assert.deepEqual(JSON.parse(renderMessage(lease, encodeJson(lease, `{"ID":"${id}"}`))), expected);
  }
  const member = request(paths.Cluster.MemberRemove);
  const most = '{"ID":"18446744073709551615"}';
  assert.equal(renderMessage(member, encodeJson(member, most)), most);
});

test("a zero in a oneof is kept", () => {
  const txn = request(paths.KV.Txn);
  const text = '{"compare":[{"key":"YQ==","version":"0"}],"success":[{"request_range":{}}]}';
  assert.equal(renderMessage(txn, encodeJson(txn, text)), text);
});

test("texts that are refused", () => {
  const txn = request(paths.KV.Txn);
  const deep = `${'{"failure":[{"request_txn":'.repeat(400)}{}${"}]}".repeat(400)}`;
  const bad: [MessageType, string, RegExp][] = [
    [range, "{", /unexpected end/],
    [range, '{"key"}', /unexpected "}", expected a colon/],
    [range, '{"key":"Zm9v",}', /field name/],
    [range, '{"key":"Zm9v"', /unexpected end/],
    [range, '{"key":"Zm', /unexpected end/],
    [range, '{"key":"\n"}', /rest of a string/],
    [range, '{"key":"\\x"}', /escape/],
    [range, '{key:"Zm9v"}', /field name/],
    [range, "[]", /the request must be an object/],
    [range, '"x"', /the request must be an object/],
    [range, "nul", /a value/],
    [range, "\ufeff{}", /the request must be an object/],
    [range, '{"limit":01}', /comma/],
    [range, '{"limit":+1}', /a value/],
    [range, '{"limit":1.}', /comma/],
    [range, '{"x":tru}', /a value/],
    [range, `{"x":${"[".repeat(100_000)}`, /nested/],
    [txn, deep, /nested/],
    [range, '{"key":"Z"}', /key must be base64/],
    [range, '{"key":"Zm9vYg="}', /base64/],
    [range, '{"key":"Zm 9v"}', /base64/],
    [range, '{"key":5}', /key must be a string of base64/],
    [range, '{"key":[102]}', /key must be a string of base64/],
    [range, '{"limit":5.5}', /limit must be an int64/],
    [range, '{"limit":""}', /int64/],
    [range, '{"limit":"0x5"}', /int64/],
    [range, '{"limit":true}', /int64/],
    [range, '{"limit":9223372036854775808}', /int64/],
    [request(paths.Cluster.MemberRemove), '{"ID":-1}', /uint64/],
    [range, '{"sort_order":"ascend"}', /sort_order must be one of its names/],
    [range, '{"sort_order":3000000000}', /sort_order/],
    [range, '{"serializable":"true"}', /true or false/],
    [range, '{"serializable":1}', /true or false/],
    [request(paths.Auth.Authenticate), '{"name":5}', /name must be a string/],
    [txn, '{"success":[null]}', /null/],
    [txn, '{"success":{}}', /success must be an array/],
    [txn, '{"success":[[]]}', /success must be an object/],
    [txn, '{"success":[{"request_put":{"key":"YQ=="},"request_range":{"key":"YQ=="}}]}', /only one/],
  ];
  for (const [type, text, expected] of bad) {
    assert.throws(
      () => encodeJson(type, text),
      (error: unknown) =>
        error instanceof StatusError && error.code === Code.INVALID_ARGUMENT && expected.test(error.message),
      text.slice(0, 80),
    );
  }
});

test("random messages of every type survive a round trip, and protobufjs reads the same", () => {
  const seed = newSeed("JSON mapping");
  const next = random(seed);
  for (let round = 0; round < 30; round++) {
    for (const { request, response } of methods.values()) {
      for (const type of [request, response]) {
        const { text, json, proto } = message(type, 3, next);
        const bytes = encodeJson(type, text);
        assert.deepEqual(JSON.parse(renderMessage(type, bytes)), json, text);
        const pieces = [...renderPieces(type, bytes, 1 + next(100))];
        assert.deepEqual(JSON.parse(pieces.join("")), json, text);
        const decoded = root.lookupType(type.name).decode(bytes);
        const object = root
          .lookupType(type.name)
          .toObject(decoded, { longs: String, bytes: String, enums: String });
        assert.deepEqual(object, proto, text);
      }
    }
  }
});

interface Sample {
  /** Form that a client may send. */
  readonly text: string;
  /** Form that the gateway renders. */
  readonly json: unknown;
  /** Form that protobufjs decodes; undefined for zero values. */
  readonly proto: unknown;
}

function message(type: MessageType, depth: number, next: (below: number) => number): Sample {
  const texts: string[] = [];
  const json: Record<string, unknown> = {};
  const proto: Record<string, unknown> = {};
  for (const field of type.fields) {
    if (next(3) === 0 || (field.kind === "message" && depth === 0)) continue;
    if (field.rivals?.some((slot) => type.fields[slot].name in json)) continue;
    const samples = Array.from({ length: field.repeated ? 1 + next(3) : 1 }, () =>
      sample(field, depth, next),
    );
    const all = samples.map(({ text }) => text).join(" , ");
    const name = next(2) === 0 ? field.name : field.name.replace(/_(.)/g, (_, c: string) => c.toUpperCase());
    texts.push(`"${name}" : ${field.repeated ? `[${all}]` : all}`);
    const zero = ["0", 0, "", false].includes(samples[0].json as string);
    if (zero && !field.repeated && field.rivals === undefined) continue;
    json[field.name] = field.repeated ? samples.map((each) => each.json) : samples[0].json;
    proto[field.name] = field.repeated ? samples.map((each) => each.proto) : samples[0].proto;
  }
  // Members may come in any order.
  if (next(2) === 0) texts.reverse();
  return { text: `{${texts.join(",")}}`, json, proto };
}

const TEXTS = ["", "a", "é", '\u0000\u001f"\\/', "<&>\u2028", "😀", "x".repeat(300)];
const INTEGERS = [
  "0",
  "1",
  "127",
  "128",
  "300",
  "2147483647",
  "4294967296",
  "9007199254740993",
  "9223372036854775807",
];

function sample(field: Field, depth: number, next: (below: number) => number): Sample {
  switch (field.kind) {
    case "message":
      return message(field.type!, depth - 1, next);
    case "bool": {
      // The tests above cover zero values.
      return { text: "true", json: true, proto: true };
    }
    case "string": {
      const value = TEXTS[next(TEXTS.length)];
      const escaped = value.replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
      return {
        text: next(2) === 0 ? JSON.stringify(value) : `"${escaped.replace(/["\\](?!u)/g, "\\$&")}"`,
        json: value,
        proto: value,
      };
    }
    case "bytes": {
      const value = Buffer.from(Array.from({ length: next(20) }, () => next(256))).toString("base64");
      return { text: JSON.stringify(value), json: value, proto: value };
    }
    case "enum": {
      const [name, number] = [...field.values!.byName][next(field.values!.byName.size)];
      const json = number === 0 && !field.repeated ? 0 : name;
      return { text: next(2) === 0 ? `"${name}"` : String(number), json, proto: name };
    }
    case "uint32":
    case "int32": {
      const value = next(2 ** 31);
      return { text: String(value), json: value, proto: value };
    }
    default: {
      const digits = INTEGERS[next(INTEGERS.length)];
      const value = digits !== "0" && field.kind === "int64" && next(2) === 0 ? `-${digits}` : digits;
      return { text: next(2) === 0 ? value : `"${value}"`, json: value, proto: value };
    }
  }
}
