import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSoakOptions } from "../../bench/soak/options.js";
import { renderSoak } from "../../bench/soak/report.js";
import type { Minute } from "../../bench/soak/run.js";

test("without options, a soak takes half an hour and is complete", () => {
  const options = parseSoakOptions(["--soak"]);
  assert.deepEqual([options?.minutes, options?.settle, options?.complete], [30, 5, true]);
  assert.equal(parseSoakOptions(["--soak", "--minutes", "4"])?.settle, 3);
  assert.equal(parseSoakOptions(["--soak", "--help"]), undefined);
});

test("wrong options are refused with the range of right ones", () => {
  assert.throws(
    () => parseSoakOptions(["--soak", "--minutes", "1"]),
    /--minutes: "1" is not a number from 2 to 10000/,
  );
  assert.throws(
    () => parseSoakOptions(["--soak", "--minutes", "9", "--settle", "9"]),
    /--settle: "9" is not a number from 1 to 8/,
  );
});

test("the report compares the last minutes with those before the settled time", () => {
  const minute = (n: number): Minute => ({
    minute: n,
    putP50: n,
    putP99: n,
    readP50: n,
    readP99: n,
    listP99: n,
    calls: 10,
    events: 1,
    watches: 1,
    leases: 1,
    errors: 0,
    proxyCpu: 0.1,
    proxyMemory: n * 2 ** 20,
    etcdMemory: n * 2 ** 20,
  });
  const figures = Array.from({ length: 10 }, (_, i) => minute(i + 1));
  const machine = {
    cores: 2,
    model: "test",
    memoryGiB: 1,
    kernel: "1",
    fsyncMs: 1,
    etcd: "1",
    node: "1",
    braid: "1",
  };
  const options = parseSoakOptions(["--soak", "--minutes", "10"])!;
  const text = renderSoak({ measuredAt: "", machine, options, figures });
  assert.match(text, /^10 minutes: 100 calls, 10 events, 10 watches, 10 leases, 0 errors$/m);
  assert.match(text, /^memory of the proxy +\| +4 MiB \| +9 MiB \| +2\.25$/m);
});
