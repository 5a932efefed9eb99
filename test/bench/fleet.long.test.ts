import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ClientsReport } from "../../bench/clients/report.js";
import type { ColdFigures } from "../../bench/cold/run.js";
import type { FleetReport } from "../../bench/fleet/report.js";
import { temporaryFolder } from "../support/braid.js";
import { bench } from "./program.js";

/** Runs a measurement and returns its report. */
async function measure(...args: string[]): Promise<unknown> {
  const dir = temporaryFolder();
  const output = join(dir, "report.json");
  const { code, stdout, stderr } = await bench(...args, "--dir", dir, "--output", output);
  assert.equal(code, 0, `${stdout}${stderr}`);
  return JSON.parse(readFileSync(output, "utf8"));
}

test("fleets of one and of five proxies seal what they write", async () => {
  const report = await measure("--fleet", "--proxies", "1,5", "--writes", "100", "--slice", "1000");
  const { figures } = report as FleetReport;
  assert.deepEqual(
    figures.map(({ proxies, writes }) => [proxies, writes]),
    [
      [1, 100],
      [5, 100],
    ],
  );
  for (const f of figures) {
    assert.ok(f.sealedPerSecond > 50 && f.sealedPerSecond <= 101, JSON.stringify(f));
    assert.ok(f.appendsPerSecond > 0 && f.hostCpu > 0 && f.readPerSecond > 0, JSON.stringify(f));
  }
});

test("clients move to another proxy and lose neither events nor leases", async () => {
  const report = await measure("--clients", "60", "--keys", "5", "--idle", "1");
  const { figures } = report as ClientsReport;
  assert.deepEqual(
    figures.moves.map(({ signal, wrong, leasesLost }) => [signal, wrong, leasesLost]),
    [
      ["SIGKILL", 0, 0],
      ["SIGTERM", 0, 0],
    ],
  );
  // Replays of the same events are read once, and the shards know nothing of the number of clients.
  for (const { calls } of figures.moves) assert.ok((calls.Watch ?? 0) < 30, JSON.stringify(calls));
});

test("a proxy starts over a store with many segments", async () => {
  const report = await measure("--cold", "--keys", "4000", "--segments", "2000", "--starts", "1");
  const { figures } = report as { figures: ColdFigures };
  assert.equal(figures.segments, 2_000);
  assert.ok(figures.fullSeconds > 0 && figures.fullMemory > 0);
});
