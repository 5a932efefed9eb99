import type { PlanProgress } from "../reshard/progress.js";
import { progressBlock, progressLine, type Speed } from "./progressText.js";
import { Block } from "./terminal.js";

/** Pause between two lines about a plan that goes on as before, in milliseconds. */
const LINE_MS = 3_000;

/** Where `braid apply` writes. */
export interface PlanOutput {
  progress(progress: PlanProgress, speed: Speed): void;
  /** Says something once: a text for people, and the fields of a line of JSON. */
  say(text: string, line: { readonly type: string } & Readonly<Record<string, unknown>>): void;
}

export function planOutput(json: boolean): PlanOutput {
  if (json) return new JsonOutput();
  return process.stdout.isTTY ? new TerminalOutput() : new LineOutput();
}

/** One line of JSON for each change. */
class JsonOutput implements PlanOutput {
  private last = "";

  progress(progress: PlanProgress): void {
    const line = JSON.stringify({ type: "progress", ...progress });
    if (line !== this.last) print(line);
    this.last = line;
  }

  say(_text: string, line: object): void {
    print(JSON.stringify(line));
  }
}

/** A bar that is drawn again and again. */
class TerminalOutput implements PlanOutput {
  private readonly block = new Block();

  progress(progress: PlanProgress, speed: Speed): void {
    this.block.show(progressBlock(progress, speed));
  }

  say(text: string): void {
    this.block.clear();
    print(text);
  }
}

/** A line when the state changes, and one every few seconds while keys move. */
class LineOutput implements PlanOutput {
  private last: PlanProgress | undefined;
  private lastAt = 0;

  progress(progress: PlanProgress, speed: Speed): void {
    const { last } = this;
    const isNew =
      last?.plan !== progress.plan ||
      last.state !== progress.state ||
      last.reason !== progress.reason ||
      last.advice !== progress.advice;
    const isMore = last?.keys !== progress.keys || last.steps !== progress.steps;
    if (!isNew && !(isMore && Date.now() - this.lastAt >= LINE_MS)) return;
    print(progressLine(progress, speed));
    this.last = progress;
    this.lastAt = Date.now();
  }

  say(text: string): void {
    print(text);
  }
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
