import assert from "node:assert/strict";
import { test } from "node:test";
import {
  CONTROL_KEY,
  type Control,
  controlOf,
  decodeControl,
  decodeProgress,
  decodeSeat,
  encodeControl,
  encodeProgress,
  encodeSeat,
  PROGRESS_KEY,
  type ProgressRecord,
  SEAT_KEY,
} from "../../src/reshard/record.js";
import { LOG_PREFIX, LOG_PREFIX_END } from "../../src/timeline/keys.js";

const CONTROL: Control = { plan: 3, paused: true, maxKeysPerSecond: 12.5, keys: 1_000, bytes: null };
const PROGRESS: ProgressRecord = {
  plan: 3,
  proxy: "host:12/ab",
  at: 1_700_000_000_000,
  phase: "copy",
  step: { from: "a\\x00", to: null },
  stepKeys: 10,
  keys: 2_000,
  bytes: 3_000_000,
  steps: 4,
  keysPerSecond: 812.25,
  lastPauseMs: 11.5,
  longestPauseMs: 80,
  waiting: null,
};

test("records are read as they were written", () => {
  assert.deepEqual(decodeControl(encodeControl(CONTROL)), { record: CONTROL, problem: undefined });
  assert.deepEqual(decodeProgress(encodeProgress(PROGRESS)), { record: PROGRESS, problem: undefined });
  const waiting = { ...PROGRESS, step: null, waiting: "no space" };
  assert.deepEqual(decodeProgress(encodeProgress(waiting)).record, waiting);
  assert.deepEqual(decodeSeat(encodeSeat({ proxy: "p" })).record, { proxy: "p" });
});

test("an absent record has no problem", () => {
  for (const decode of [decodeControl, decodeProgress, decodeSeat])
    assert.deepEqual(decode(undefined), { record: undefined, problem: undefined });
});

test("what is not a record counts as absent, with a reason", () => {
  const cases: [object | string, RegExp][] = [
    ["", /JSON/],
    ["[]", /an object instead of \[\]/],
    ["null", /an object instead of null/],
    [{ ...CONTROL }, /format undefined/],
    [{ format: 2, ...CONTROL }, /format 2 instead of 1/],
    [{ format: 1, ...CONTROL, plan: -1 }, /integer.* instead of -1/],
    [{ format: 1, ...CONTROL, plan: 1.5 }, /integer.* instead of 1.5/],
    [{ format: 1, ...CONTROL, paused: 1 }, /true or false instead of 1/],
    [{ format: 1, ...CONTROL, maxKeysPerSecond: 0 }, /above 0/],
    [{ format: 1, ...CONTROL, maxKeysPerSecond: -1 }, /at least 0 instead of -1/],
    [{ format: 1, ...CONTROL, keys: "1" }, /integer.* instead of "1"/],
  ];
  for (const [value, problem] of cases) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const reading = decodeControl(Buffer.from(text));
    assert.equal(reading.record, undefined, text);
    assert.match(reading.problem!, problem);
  }
  assert.match(
    decodeProgress(Buffer.from('{"format":1,"plan":1}')).problem!,
    /a string instead of undefined/,
  );
  assert.equal(decodeSeat(Buffer.from('{"format":1}')).record, undefined);
});

test("a control applies to its own plan only", () => {
  assert.deepEqual(controlOf(CONTROL, 3), CONTROL);
  const free = { plan: 4, paused: false, maxKeysPerSecond: null, keys: null, bytes: null };
  assert.deepEqual(controlOf(CONTROL, 4), free);
  assert.deepEqual(controlOf(undefined, 4), free);
});

test("the keys are reserved, and outside the log, whose host revisions proxies hide", () => {
  for (const key of [CONTROL_KEY, SEAT_KEY, PROGRESS_KEY]) {
    assert.equal(key[0], 0);
    assert.ok(Buffer.compare(key, LOG_PREFIX) < 0 || Buffer.compare(key, LOG_PREFIX_END) >= 0);
  }
});
