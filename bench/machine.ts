import { execFileSync } from "node:child_process";
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { version } from "../src/ops/package.js";
import { etcdBinary } from "../test/support/etcd.js";
import { median } from "./statistics.js";

/** The machine of the measurement. */
export interface Machine {
  readonly cores: number;
  readonly model: string;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly etcd: string;
  readonly braid: string;
  /** Median time to append 4 KiB to a file with fsync, in milliseconds. */
  readonly fsyncMs: number;
}

/** `dir`: folder with the etcds' data. */
export function describeMachine(dir: string): Machine {
  const processors = cpus();
  const etcd = execFileSync(etcdBinary, ["--version"], { encoding: "utf8" });
  return {
    cores: processors.length,
    model: processors[0]?.model.trim() ?? "unknown",
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    etcd: /etcd Version: (\S+)/.exec(etcd)?.[1] ?? "unknown",
    braid: version,
    fsyncMs: fsyncTime(dir),
  };
}

function fsyncTime(dir: string): number {
  const path = join(dir, "fsync");
  const file = openSync(path, "w");
  const block = Buffer.alloc(4096, 1);
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    const started = performance.now();
    writeSync(file, block);
    fdatasyncSync(file);
    times.push(performance.now() - started);
  }
  closeSync(file);
  rmSync(path);
  return median(times);
}
