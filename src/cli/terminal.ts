import { createInterface } from "node:readline";

/** True if somebody can answer questions. */
export const canAsk = (): boolean => process.stdin.isTTY === true && process.stdout.isTTY === true;

/** Asks a question in the terminal. Resolves to true for "y" or "yes". Ctrl-C and Ctrl-D count as no. */
export function ask(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  return new Promise((resolve) => {
    let isYes = false;
    terminal.once("SIGINT", () => terminal.close());
    terminal.once("close", () => resolve(isYes));
    terminal.question(`${question} [y/N] `, (answer) => {
      isYes = /^y(es)?$/i.test(answer.trim());
      terminal.close();
    });
  });
}

/** Lines at the end of a terminal's output that are replaced again and again. */
export class Block {
  private shown = 0;

  constructor(private readonly out: NodeJS.WriteStream = process.stdout) {}

  show(lines: readonly string[]): void {
    const { columns = 80 } = this.out;
    // A line that wraps would take more rows than are cleared.
    const text = lines.map((line) => `${line.slice(0, columns - 1)}\n`).join("");
    this.out.write(`${this.clearing()}${text}`);
    this.shown = lines.length;
  }

  /** Removes the lines. */
  clear(): void {
    this.out.write(this.clearing());
    this.shown = 0;
  }

  private clearing(): string {
    return this.shown === 0 ? "" : `\x1b[${this.shown}A\x1b[J`;
  }
}
