import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, StatusError } from "../../src/status/error.js";
import { type KeyValue, RangeResponse } from "../../src/wire/messages.js";
import { RangeMerge } from "../../src/wire/rangeMerge.js";
import { RangePart } from "../../src/wire/rangePart.js";
import { encodeHeader } from "../../src/wire/rewrite.js";
import { damage, Random, randomMessage, seed, varint } from "./random.js";
import { hex, lookup, plain } from "./reference.js";

console.log(`# SEED=${seed}`);

const header = { clusterId: 5n, memberId: 77n, revision: 2 ** 40 + 5, raftTerm: 9 };
const field = encodeHeader(header);
/** Makes varints longer, shorter, and neither. */
const map = (revision: number): number => {
  if (revision <= 0) return revision;
  return revision > 2 ** 30 ? 3 : revision % 3 === 0 ? revision : revision * 1000 + 7;
};

function mapKv(kv: KeyValue): KeyValue {
  return { ...kv, createRevision: map(kv.createRevision), modRevision: map(kv.modRevision) };
}

const released: Uint8Array[] = [];
const memory = {
  allocate: (length: number) => Buffer.alloc(length, 0xee),
  release: (bytes: Uint8Array) => released.push(bytes),
};

/** Merges a single response. */
function alone(response: Uint8Array): Uint8Array {
  const merge = new RangeMerge(false, 0);
  const part = RangePart.of(response, map, 0);
  merge.count = part.count;
  merge.add(part);
  merge.take(part.keys);
  return merge.finish(field, memory);
}

test("merging equals decoding, mapping and encoding, for any form of the keys", () => {
  const random = new Random(seed);
  const type = lookup("RangeResponse");
  for (let i = 0; i < 3000; i++) {
    const response = randomMessage(random, type, random.pick(["canonical", "loose"]));
    const before = hex(response);
    const { kvs, more, count } = RangeResponse.decode(response);
    const expected = RangeResponse.encode({ header, kvs: kvs.map(mapKv), more, count: Math.max(0, count) });
    const actual = RangeResponse.decode(alone(response));
    assert.deepEqual(plain(actual), plain(RangeResponse.decode(expected)), before);
    assert.equal(hex(response), before, "the response itself was changed");
  }
});

test("malformed keys are INVALID_ARGUMENT, as in decoding", () => {
  const random = new Random(seed + 1);
  for (let i = 0; i < 5000; i++) {
    const kv = damage(random, randomMessage(random, lookup("KeyValue"), random.pick(["canonical", "loose"])));
    const response = Buffer.concat([Buffer.of(0x12), varint(BigInt(kv.length)), kv]);
    assert.equal(
      refused(() => alone(response)),
      refused(() => RangeResponse.decode(response)),
      hex(response),
    );
  }
});

test("damaged responses are refused only when decoding refuses them, with INVALID_ARGUMENT", () => {
  const random = new Random(seed + 2);
  for (let i = 0; i < 5000; i++) {
    const style = random.pick(["canonical", "loose"] as const);
    const response = damage(random, randomMessage(random, lookup("RangeResponse"), style));
    // The merge does not read the header.
    if (refused(() => alone(response)))
      assert.ok(
        refused(() => RangeResponse.decode(response)),
        hex(response),
      );
  }
});

test("the keys of several shards are merged in order up to the limit, to the byte", () => {
  const random = new Random(seed + 3);
  for (let run = 0; run < 200; run++) {
    const descending = random.chance(2);
    const kvs = randomKeys(random, random.pick([0, 1, 20, 700]));
    if (descending) kvs.reverse();
    const parts: KeyValue[][] = [[], [], []];
    for (const kv of kvs) parts[random.below(3)].push(kv);
    const responses = parts.map((each) =>
      RangeResponse.encode({ header, kvs: each, more: false, count: each.length }),
    );
    const limit = random.chance(2) ? Number.POSITIVE_INFINITY : 1 + random.below(kvs.length + 1);

    const merge = new RangeMerge(descending, "/key/".length);
    for (const [shard, response] of responses.entries()) {
      const part = RangePart.of(response, map, shard);
      merge.count += part.count;
      merge.add(part);
    }
    assert.equal(merge.take(limit), undefined);
    released.length = 0;
    const actual = merge.finish(field, memory);
    const expected = {
      header,
      kvs: kvs.slice(0, limit).map(mapKv),
      more: limit < kvs.length,
      count: kvs.length,
    };
    assert.equal(hex(actual), hex(RangeResponse.encode(expected)));
    assert.deepEqual(new Set(released), new Set(responses), "what has been read is released");
  }
});

function randomKeys(random: Random, count: number): KeyValue[] {
  const revision = () => 1 + random.below(random.pick([100, 20_000, 3_000_000, 2 ** 31]));
  return Array.from({ length: count }, (_, i) => {
    const createRevision = revision();
    return {
      key: Buffer.from(`/key/${i.toString().padStart(4, "0")}${"x".repeat(random.below(3))}`),
      createRevision,
      modRevision: random.chance(2) ? createRevision : revision(),
      version: 1 + random.below(300),
      // Around the lengths whose varints get another byte.
      value: random.bytes(random.pick([0, 1, 20, 100, 105, 110, 256, random.chance(20) ? 16_360 : 3])),
      lease: random.chance(3) ? 2n ** 62n + 7n : 0n,
    };
  });
}

function refused(action: () => unknown): boolean {
  try {
    action();
    return false;
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    assert.equal(error.code, Code.INVALID_ARGUMENT);
    return true;
  }
}
