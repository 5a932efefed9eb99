import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after } from "node:test";
import { type Connections, connect } from "../../src/app/store/connect.js";
import { endWithParent } from "../../src/dev/guard.js";
import { createLog } from "../../src/ops/log.js";
import { START } from "../../src/reshard/bound.js";
import type { Change, MoveSource } from "../../src/reshard/change.js";
import {
  CONTROL_KEY,
  type Control,
  decodeControl,
  encodeProgress,
  encodeSeat,
  PROGRESS_KEY,
  type ProgressRecord,
  SEAT_KEY,
} from "../../src/reshard/record.js";
import { decodeMarks, type Mark } from "../../src/timeline/mark.js";
import type { SharedTimeline } from "../../src/timeline/timeline.js";
import { base64, configured, type File, post } from "../store/configured.js";
import { braid, braidCommand, spawnBraid } from "../support/braid.js";
import type { EtcdProcess } from "../support/etcd.js";
import type { CommandResult } from "../support/etcdctl.js";
import { until } from "../support/until.js";

/** Runs `braid apply` with this file to its end. */
export async function apply(file: File, ...args: string[]): Promise<CommandResult> {
  const { path } = await configured(file);
  return braid("apply", "--config", path, ...args);
}

/** A `braid apply` that runs. Those that a failed test leaves behind end with the file's tests. */
export class Applying {
  private output = "";
  private readonly ended: Promise<number>;

  private constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.ended = new Promise((resolve) => child.once("close", (code) => resolve(code ?? -1)));
    after(async () => {
      await this.end("SIGKILL");
    });
  }

  /** Starts the command in a terminal, which util-linux's `script` makes. */
  static async inTerminal(file: File, ...args: string[]): Promise<Applying> {
    const { path } = await configured(file);
    const command = [...braidCommand, "apply", "--config", path, ...args]
      .map((part) => `'${part}'`)
      .join(" ");
    // Without exec, some shells stay in between, and Ctrl-C ends those with 130.
    const child = spawn("script", ["-qec", `exec ${command}`, "/dev/null"], { stdio: "pipe" });
    endWithParent(child);
    return new Applying(child);
  }

  static async start(file: File, ...args: string[]): Promise<Applying> {
    const { path } = await configured(file);
    return new Applying(
      spawnBraid(["apply", "--config", path, ...args], { stdio: ["ignore", "pipe", "pipe"] }),
    );
  }

  get text(): string {
    return this.output;
  }

  /** The lines of `--json`. */
  // biome-ignore lint/suspicious/noExplicitAny: what the command prints
  get lines(): any[] {
    const whole = this.output.slice(0, this.output.lastIndexOf("\n") + 1);
    return whole
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  }

  /** Resolves when the command has printed this. */
  async until(pattern: RegExp): Promise<void> {
    await until(`braid apply prints ${pattern}`, () => {
      if (this.child.exitCode !== null) assert.match(this.output, pattern);
      return pattern.test(this.output);
    });
  }

  type(text: string): void {
    this.child.stdin!.write(text);
  }

  /** Sends a signal; resolves to the exit code. */
  end(signal: NodeJS.Signals = "SIGINT"): Promise<number> {
    this.child.kill(signal);
    return this.ended;
  }

  /** Resolves to the exit code when the command has ended by itself. */
  done(): Promise<number> {
    return this.ended;
  }
}

const put = (etcd: EtcdProcess, key: Buffer, value: Buffer): Promise<unknown> =>
  post(etcd, "put", { key: key.toString("base64"), value: value.toString("base64") });

/** The control that the etcd holds. */
export async function controlAt(etcd: EtcdProcess): Promise<Control | undefined> {
  const { kvs = [] } = await post(etcd, "range", { key: CONTROL_KEY.toString("base64") });
  return decodeControl(kvs[0] && Buffer.from(kvs[0].value, "base64")).record;
}

/** The marks that the etcd holds. */
export async function marksAt(etcd: EtcdProcess): Promise<readonly Mark[]> {
  const { kvs = [] } = await post(etcd, "range", {
    key: base64("\0braid/mark/"),
    range_end: base64("\0braid/mark0"),
  });
  const decoded = kvs.map((kv: Record<string, string>) => ({
    key: Buffer.from(kv.key, "base64"),
    value: Buffer.from(kv.value, "base64"),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
  }));
  return decodeMarks(decoded).marks;
}

/** Plays the proxy that carries out a plan that moves no keys, by the records and changes that such a proxy writes. */
export class Actor {
  private mover = 0;

  private constructor(
    private readonly host: EtcdProcess,
    private readonly connections: Connections,
  ) {}

  /** `file` is one of the store's. `host` is its timeline host. */
  static async open(file: File, host: EtcdProcess): Promise<Actor> {
    const { config } = await configured(file);
    const connections = await connect(config, createLog("silent"));
    await connections.openTimeline();
    return new Actor(host, connections);
  }

  get timeline(): SharedTimeline {
    return this.connections.timeline;
  }

  close(): void {
    this.connections.disconnect();
  }

  /** Takes the plan. */
  async take(): Promise<void> {
    await put(this.host, SEAT_KEY, encodeSeat({ proxy: "test:1/a" }));
    this.mover = await this.change({ kind: "claim" });
  }

  async leave(): Promise<void> {
    await post(this.host, "deleterange", { key: SEAT_KEY.toString("base64") });
  }

  async report(more: Partial<ProgressRecord>): Promise<void> {
    const record: ProgressRecord = {
      plan: this.timeline.placement.plan?.number ?? 0,
      proxy: "test:1/a",
      at: Date.now(),
      phase: "copy",
      step: null,
      stepKeys: 0,
      keys: 0,
      bytes: 0,
      steps: 0,
      keysPerSecond: 0,
      lastPauseMs: 0,
      longestPauseMs: 0,
      waiting: null,
      ...more,
    };
    await put(this.host, PROGRESS_KEY, encodeProgress(record));
  }

  /** Freezes all keys. Resolves to the position. */
  async freeze(): Promise<number> {
    await this.timeline.sync();
    const { number, cursor, up } = this.timeline.placement.plan!;
    return this.change({
      kind: "freeze",
      mover: this.mover,
      plan: number,
      cursor,
      to: up ? null : START,
    });
  }

  async thaw(freeze: number): Promise<void> {
    await this.change({ kind: "thaw", mover: this.mover, freeze });
  }

  /** Moves all keys, of which there are none, away from these sources, and ends the plan. Resolves to the move's revision. */
  async finish(sources: readonly number[] = []): Promise<number> {
    const freeze = await this.freeze();
    const { number } = this.timeline.placement.plan!;
    const stops = sources.map((shard): MoveSource => ({ shard, stop: this.timeline.cut(shard) }));
    await this.change({
      kind: "move",
      mover: this.mover,
      freeze,
      sources: stops,
      destinations: [],
      ended: [],
    });
    const { head } = this.timeline;
    await this.change({ kind: "done", plan: number });
    return head;
  }

  async change(change: Change): Promise<number> {
    const position = await this.timeline.proposeChange(change);
    assert.ok(position !== undefined, `the ${change.kind} is valid`);
    return position;
  }
}
