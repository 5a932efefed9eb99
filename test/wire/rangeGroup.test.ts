import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusError } from "../../src/status/error.js";
import { RangeRequest, RangeResponse, TxnRequest, TxnResponse } from "../../src/wire/messages.js";
import { encodeRangeGroup, findRanges } from "../../src/wire/rangeGroup.js";
import { encodeHeader, rewriteRange } from "../../src/wire/rewrite.js";
import { damage, Random, randomMessage, seed } from "./random.js";
import { hex, lookup } from "./reference.js";

console.log(`# SEED=${seed}`);

const header = encodeHeader({ clusterId: 3n, memberId: 4n, revision: 500, raftTerm: 6 });
const map = (revision: number): number => revision * 3;

test("a group is encoded as a transaction of its ranges, to the byte", () => {
  const random = new Random(seed);
  for (let i = 0; i < 300; i++) {
    const requests = Array.from({ length: random.below(5) }, () =>
      RangeRequest.encode(RangeRequest.decode(randomMessage(random, lookup("RangeRequest"), "canonical"))),
    );
    const success = requests.map((bytes) => ({
      kind: "range" as const,
      request: RangeRequest.decode(bytes),
    }));
    assert.equal(hex(encodeRangeGroup(requests)), hex(TxnRequest.encode({ success })));
  }
});

test("the ranges in a response are found, and can be rewritten in place", () => {
  const random = new Random(seed + 1);
  for (let i = 0; i < 300; i++) {
    const ranges = Array.from({ length: random.below(5) }, () =>
      RangeResponse.decode(randomMessage(random, lookup("RangeResponse"), "canonical")),
    );
    const responses = ranges.map((response) => ({ kind: "range" as const, response }));
    const answer = TxnResponse.encode({ header: { revision: 9 }, succeeded: true, responses });
    const bounds = findRanges(answer);
    assert.equal(bounds.length, 2 * ranges.length);
    for (const [n, range] of ranges.entries()) {
      const [from, to] = bounds.slice(2 * n);
      const alone = RangeResponse.encode(range);
      assert.equal(hex(answer.subarray(from, to)), hex(alone));
      const rewritten = rewriteRange(answer, header, map, undefined, from, to);
      assert.equal(hex(rewritten), hex(rewriteRange(alone, header, map)));
    }
  }
});

test("malformed responses are refused, or have fewer ranges", () => {
  const random = new Random(seed + 2);
  for (let i = 0; i < 2000; i++) {
    const answer = damage(random, randomMessage(random, lookup("TxnResponse"), "loose"));
    try {
      for (const bound of findRanges(answer)) assert.ok(bound >= 0 && bound <= answer.length);
    } catch (reason) {
      assert.ok(reason instanceof StatusError, String(reason));
    }
  }
});
