import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** How long to wait for expected output, ms; the machine is shared with other tests. */
const PATIENCE = 90_000;

/** A process that goes on while a test looks at what it prints. Needs pipes as standard output and error. */
export class Running {
  /** Everything printed so far, on standard output and error. */
  output = "";
  /** The exit code, null after a signal. */
  readonly ended: Promise<number | null>;

  constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        child.emit("output");
      });
    }
    this.ended = once(child, "close").then(([code]) => code);
  }

  /** Resolves with the match once the output matches; rejects with the output when it no longer can, or after 90 s. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const deadline = AbortSignal.timeout(PATIENCE);
    let goesOn = true;
    for (;;) {
      const match = pattern.exec(this.output);
      if (match) return match;
      if (!goesOn) throw new Error(`no ${pattern} in:\n${this.output}`);
      const more = once(this.child, "output", { signal: deadline }).then(() => true);
      const over = this.ended.then(() => false);
      goesOn = await Promise.race([more, over]).catch(() => false);
      more.catch(() => {}); // the deadline of a race that the process's end has won
    }
  }

  write(text: string): void {
    this.child.stdin!.write(text);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Interrupts the process as Ctrl-C does; resolves to its exit code. */
  stop(): Promise<number | null> {
    this.kill("SIGINT");
    return this.ended;
  }
}
