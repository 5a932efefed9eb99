import assert from "node:assert/strict";
import { test } from "node:test";
import { partOf, resolveSymbols } from "../../bench/samples.js";

const MAP = [
  "1000 100 JS:*first file:///home/x/dist/src/http2/outbox.js:1:1",
  "1080 40 JS:*second file:///home/x/dist/src/watch/audience.js:2:2",
  "3000 10 JS:*onStreamRead node:internal/stream_base_commons:168:22",
  "",
].join("\n");

const SCRIPT = [
  "     1010 [unknown] ([JIT] tid 42)",
  "     1090 JS:*first file:///home/x/dist/src/http2/outbox.js:1:1 (/tmp/perf-42.map)",
  "     3001 [unknown] (//anon)",
  "     9999 [unknown] (//anon)",
  " ffff8001 tcp_ack ([kernel.kallsyms])",
  "  5600001 Builtins_LoadIC (/usr/bin/node)",
  "  5600002 v8::internal::Scavenger::Process(v8::JobDelegate*) (/usr/bin/node)",
  "  5600003 node::StreamBase::WriteBuffer (/usr/bin/node)",
  "  5600004 memmove (/usr/lib/libc.so.6)",
  "",
].join("\n");

test("samples are counted for the part of the program they belong to", () => {
  const samples = resolveSymbols(SCRIPT, MAP);
  assert.deepEqual(samples.map(partOf), [
    "src/http2",
    "src/watch",
    "Node.js, JavaScript",
    "V8, other compiled code",
    "kernel",
    "V8, builtins",
    "garbage collector",
    "Node.js and libuv, C++",
    "other libraries",
  ]);
});

test("of several functions that were compiled at an address the last one is meant", () => {
  const [first, second] = resolveSymbols(SCRIPT, MAP);
  assert.equal(first.symbol, "JS:*first http2/outbox.js:1:1");
  assert.equal(second.symbol, "JS:*second watch/audience.js:2:2");
});
