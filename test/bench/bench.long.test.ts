import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Report } from "../../bench/report.js";
import { temporaryFolder } from "../support/braid.js";
import { bench } from "./program.js";

test("a short benchmark measures every workload on every peer and leaves nothing behind", async () => {
  const dir = temporaryFolder();
  const output = join(dir, "report.json");
  const { code, stdout, stderr } = await bench(
    ...["--quick", "--peers", "direct,grpc-proxy,braid-3", "--rounds", "1", "--slice", "100"],
    ...["--watchers", "20", "--writes", "50", "--dir", dir, "--output", output],
  );
  assert.equal(code, 0, `${stdout}${stderr}`);

  const report: Report = JSON.parse(readFileSync(output, "utf8"));
  const peers = ["direct", "grpc-proxy", "braid-3"];
  const loads = ["put 1 x 1", "put 1 x 64", "put 16 x 16", "range 1 x 1", "range 1 x 64", "range 16 x 16"];
  loads.push("scan 1 x 1", "scan 1 x 8", "watch 20 ids", "watch 20 streams");
  assert.deepEqual(
    report.figures.map(({ kind, load, peer }) => `${kind} ${load} ${peer}`),
    loads.flatMap((load) => peers.map((peer) => `${load} ${peer}`)),
  );
  for (const figures of report.figures) {
    const what = JSON.stringify(figures);
    assert.ok(figures.perSecond > 0, what);
    assert.ok(figures.p50Ms > 0 && figures.p99Ms >= figures.p50Ms, what);
    assert.ok(figures.cpu.etcd > 0 && figures.cpu.load > 0, what);
    assert.equal(figures.cpu.proxy > 0, figures.peer !== "direct", what);
    // Many writers share an entry of the timeline; one alone needs one for each write.
    const { put } = figures;
    assert.equal(put !== undefined, figures.kind === "put" && figures.peer === "braid-3", what);
    const appends = put?.appendsPer1000;
    if (put !== undefined) {
      assert.ok(put.shardMs > 0 && put.sealMs > 0 && put.appendMs > 0, what);
      assert.ok(put.shardMs + put.sealMs < put.totalMs, what);
    }
    if (figures.load === "1 x 1" && appends !== undefined) assert.ok(appends >= 1000 && appends < 1500, what);
    if (figures.load !== "1 x 1" && appends !== undefined) assert.ok(appends > 0 && appends < 500, what);
  }
  assert.equal(report.targets.length, 12);
  assert.match(stdout, /^put +\| 16 x 16 +\| braid-3 +\|/m);
  assert.deepEqual(readdirSync(dir), ["report.json", "report.svg"]);
});

test("one worker and two are compared, with the CPU time of all of them", async () => {
  const dir = temporaryFolder();
  const output = join(dir, "report.json");
  const { code, stdout, stderr } = await bench(
    ...["--quick", "--only", "workers", "--rounds", "1", "--slice", "100", "--dir", dir, "--output", output],
  );
  assert.equal(code, 0, `${stdout}${stderr}`);
  const report: Report = JSON.parse(readFileSync(output, "utf8"));
  assert.deepEqual(
    report.figures.map(({ load, peer }) => `${load} ${peer}`),
    ["64 JSON workers-1", "64 JSON workers-2", "256 JSON workers-1", "256 JSON workers-2"],
  );
  for (const figures of report.figures) {
    assert.ok(
      figures.perSecond > 0 && figures.cpu.proxy > 0 && figures.cpu.etcd > 0,
      JSON.stringify(figures),
    );
    assert.deepEqual([figures.errors, figures.failures], [0, []]);
  }
  // With processes of its own: what the primary alone uses is next to nothing.
  const [, two] = report.figures;
  assert.ok(two.cpu.proxy > 5, JSON.stringify(two));
  assert.match(
    stdout,
    /^Responses per second, two workers compared with one: [\d.]+ \(64 JSON\), [\d.]+ \(256 JSON\)\.$/m,
  );
});

test("a wrong command line is refused with what is wrong", async () => {
  const wrong = await bench("--only", "put,pull");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--only: "pull" is not one of put, range, scan, watch/);
});
