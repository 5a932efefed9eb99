import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { endWithParent } from "./guard.js";

export interface ChildPlan {
  /** Name in messages, such as "etcd a". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly options: SpawnOptions;
  /** File with its output, for messages. */
  readonly logFile?: string;
  /** Resolves to true when the process is ready, and to false if it has ended or takes too long. */
  ready(child: ChildProcess, ended: () => boolean): Promise<boolean>;
}

/** First and longest pause before a crashed process is restarted. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** A process that ran for this long is restarted after the first pause. */
const STEADY_AFTER_MS = 30_000;

/** A process that is restarted whenever it ends unexpectedly. It never outlives this process. */
export class SupervisedChild {
  private child: ChildProcess | undefined;
  private stopping = false;
  private pause = FIRST_PAUSE_MS;
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

  /** Starts the process for the first time. Rejects if it ends before it is ready. Later it is restarted. */
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

  /** Starts the process once. Resolves to the reason if it ended before it was ready. */
  private launch(): Promise<string | undefined> {
    const { command, args, options } = this.plan;
    // In a separate process group: Ctrl-C reaches only this process, which stops the others in the right order.
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
          resolve(ready ? undefined : "it does not respond");
        });
    });
  }

  private restart(why: string, ranFor: number): void {
    if (ranFor >= STEADY_AFTER_MS) this.pause = FIRST_PAUSE_MS;
    this.say(`${this.name} has ended: ${why}. Restarting it in ${this.pause / 1000} s.`);
    this.restartTimer = setTimeout(async () => {
      const failure = await this.launch();
      if (this.stopping) return;
      if (failure && this.child) this.child.kill("SIGKILL"); // it hangs, and the next attempt needs its port
      if (failure) this.restart(failure, 0);
      else this.say(`${this.name} is running again (process ${this.pid}).`);
    }, this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }
}
