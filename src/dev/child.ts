import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { endWithParent } from "./guard.js";

export interface ChildPlan {
  /** How people are told about it: "etcd a". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly options: SpawnOptions;
  /** Where its output goes, for people to look at. */
  readonly logFile?: string;
  /** Resolves true when the started process does its work, false when it has ended or takes too long. */
  ready(child: ChildProcess, ended: () => boolean): Promise<boolean>;
}

/** First and longest pause before a crashed process is started again, ms. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
/** A process that ran for this long, ms, is started again after the first pause. */
const STEADY_AFTER = 30_000;

/** A process that is started again whenever it ends unasked. It never outlives this process. */
export class SupervisedChild {
  private child: ChildProcess | undefined;
  private stopping = false;
  private pause = FIRST_PAUSE;
  private restartTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly plan: ChildPlan,
    private readonly say: (line: string) => void,
  ) {}

  get name(): string {
    return this.plan.name;
  }

  /** Process id, undefined while it is not running. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** First start. Rejects when the process ends before it was ready; from then on it is restarted. */
  async start(): Promise<void> {
    const failure = await this.launch();
    if (!failure) return;
    const where = this.plan.logFile ? `; its log is ${this.plan.logFile}` : "";
    throw new Error(`${this.name} did not start: ${failure}${where}`);
  }

  /** Ends the process: SIGTERM, and SIGKILL after `graceMs`. Resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    clearTimeout(this.restartTimer);
    const child = this.child;
    if (!child) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
    await ended;
    clearTimeout(force);
  }

  /** Starts the process once. Resolves with the reason if it ended before it was ready. */
  private launch(): Promise<string | undefined> {
    const { command, args, options } = this.plan;
    // A group of its own: Ctrl-C goes to us alone, and we stop the processes in the right order.
    const child = spawn(command, args, { ...options, detached: true });
    const startedAt = Date.now();
    let isReady = false;
    this.child = child;
    endWithParent(child);
    return new Promise((resolve) => {
      let reason: string | undefined;
      const ended = (why: string) => {
        if (reason !== undefined) return;
        reason = why;
        this.child = undefined;
        resolve(why);
        if (isReady && !this.stopping) this.restart(why, Date.now() - startedAt);
      };
      child.once("error", (error: NodeJS.ErrnoException) =>
        ended(error.code === "ENOENT" ? `there is no ${command} on the PATH` : error.message),
      );
      child.once("exit", (code, signal) =>
        ended(signal ? `it was killed by ${signal}` : `it ended with exit code ${code}`),
      );
      this.plan
        .ready(child, () => reason !== undefined)
        .then((ready) => {
          isReady = ready;
          resolve(ready ? undefined : "it does not answer");
        });
    });
  }

  private restart(why: string, ranFor: number): void {
    if (ranFor >= STEADY_AFTER) this.pause = FIRST_PAUSE;
    this.say(`${this.name} is gone: ${why}. Starting it again in ${this.pause / 1000} s.`);
    this.restartTimer = setTimeout(async () => {
      const failure = await this.launch();
      if (this.stopping) return;
      if (failure && this.child) this.child.kill("SIGKILL"); // it hangs; the next attempt needs its place
      if (failure) this.restart(failure, 0);
      else this.say(`${this.name} is back (process ${this.pid}).`);
    }, this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
  }
}
