import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HpackDecoder } from "../../src/http2/hpack/decoder.js";
import { Block, HpackEncoder } from "../../src/http2/hpack/encoder.js";
import type { Field } from "../../src/http2/hpack/table.js";
import { ConnectionError } from "../../src/http2/protocol.js";
import { randomOf } from "./support.js";

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");

function decoder(maxListBytes = 1 << 16) {
  return new HpackDecoder<string[] | undefined>(
    (fields) => fields?.map(({ name, value }) => `${name}: ${value}`),
    maxListBytes,
  );
}

function decodeAll(blocks: readonly string[]): (string[] | undefined)[] {
  const hpack = decoder();
  return blocks.map(hex).map((block) => hpack.decode(block, 0, block.length));
}

const REQUESTS = [
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
  [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
  [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
  ],
];

describe("the examples of RFC 7541, appendix C", () => {
  test("C.2: single fields", () => {
    assert.deepEqual(
      decodeAll([
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        "040c 2f73 616d 706c 652f 7061 7468",
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        "82",
        "be",
      ]),
      [
        ["custom-key: custom-header"],
        [":path: /sample/path"],
        ["password: secret"],
        [":method: GET"],
        ["custom-key: custom-header"],
      ],
    );
  });

  test("C.3: requests without Huffman codes", () => {
    assert.deepEqual(
      decodeAll([
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ]),
      REQUESTS,
    );
  });

  test("C.4: requests with Huffman codes", () => {
    assert.deepEqual(
      decodeAll([
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ]),
      REQUESTS,
    );
  });

  test("C.6: responses with Huffman codes and evictions from a table of 256 bytes", () => {
    const date = (second: number) => `date: Mon, 21 Oct 2013 20:13:${second} GMT`;
    const location = "location: https://www.example.com";
    assert.deepEqual(
      decodeAll([
        // The appendix sets the table size; here an update at the start does.
        `3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        "4883 640e ffc1 c0bf",
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
         e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
      ]),
      [
        [":status: 302", "cache-control: private", date(21), location],
        [":status: 307", "cache-control: private", date(21), location],
        [
          ":status: 200",
          "cache-control: private",
          date(22),
          location,
          "content-encoding: gzip",
          "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ],
      ],
    );
  });
});

describe("malformed blocks end the connection", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["index 0", "80"],
    ["an index beyond the tables", "be"],
    ["a truncated literal", "400a6375"],
    ["a truncated length", "407f"],
    ["an integer without end", "ffffffffffffffff"],
    ["a table size beyond the limit", "3fe21f"],
    ["a table size after a field", "8220"],
    ["padding of more than seven bits", "0085f1e3c2e5ff00"],
    ["padding that is not of ones", "008218400161"],
    ["the end mark in a text", "0084ffffffff0161"],
  ];
  for (const [name, block] of cases) {
    test(name, () => {
      assert.throws(
        () => decodeAll([block]),
        (error) => error instanceof ConnectionError && error.code === 9,
      );
    });
  }
});

describe("cached blocks", () => {
  test("the same bytes mean something else after the table has changed", () => {
    const first = "400161 0162"; // a: b enters the table
    const second = "400163 0164";
    assert.deepEqual(decodeAll([first, "be", "be", second, "be", "bf", "20", "82"]).slice(1, 6), [
      ["a: b"],
      ["a: b"],
      ["c: d"],
      ["c: d"],
      ["a: b"],
    ]);
    assert.throws(() => decodeAll([first, "be", "20", "be"]), ConnectionError);
  });

  test("equal blocks are built once", () => {
    let built = 0;
    const hpack = new HpackDecoder(() => ++built, 1000);
    const block = hex("82 86 84 0f 0d 01 31");
    for (let i = 0; i < 10; i++) hpack.decode(block, 0, block.length);
    assert.equal(built, 1);
  });
});

test("a list beyond the limit is reported, and the table stays consistent", () => {
  const hpack = decoder(100);
  const big = Buffer.concat([hex("400161 0162 0001 63 7f 2d"), Buffer.alloc(172, 120)]);
  assert.equal(hpack.decode(big, 0, big.length), undefined);
  assert.deepEqual(hpack.decode(hex("be"), 0, 1), ["a: b"]);
  // A small block that repeats a large field.
  const bomb = Buffer.alloc(50_000, 0xbe);
  assert.equal(hpack.decode(bomb, 0, bomb.length), undefined);
});

test("random fields survive encoding and decoding, with changing table sizes", () => {
  const random = randomOf();
  for (let run = 0; run < 50; run++) {
    const encoder = new HpackEncoder();
    const hpack = decoder();
    for (let i = 0; i < 200; i++) {
      if (random.below(20) === 0) encoder.setMaxTableSize([0, 100, 4096, 65536][random.below(4)]);
      const fields: Field[] = Array.from({ length: random.below(8) }, () => ({
        name: ["content-type", ":status", "grpc-status", `x-${random.below(40)}`][random.below(4)],
        value: String.fromCharCode(
          ...Array.from({ length: random.below(200) % 130 }, () => random.below(256)),
        ),
        repeats: random.below(2) === 0,
      }));
      const block = encoder.encode(fields);
      assert.deepEqual(
        hpack.decode(block, 0, block.length),
        fields.map(({ name, value }) => `${name}: ${value}`),
      );
    }
  }
});

test("a repeated block takes one byte per field", () => {
  const encoder = new HpackEncoder();
  const hpack = decoder();
  const block = new Block([
    { name: ":status", value: "200" },
    { name: "content-type", value: "application/grpc", repeats: true },
  ]);
  const sent = Array.from({ length: 3 }, () => encoder.encodeBlock(block));
  assert.deepEqual(
    sent.map((bytes) => hpack.decode(bytes, 0, bytes.length)),
    Array.from({ length: 3 }, () => [":status: 200", "content-type: application/grpc"]),
  );
  assert.deepEqual([sent[1].length, sent[2]], [2, sent[1]]);
});
