import { setTimeout } from "node:timers/promises";
import { loadConfig } from "../config/load.js";
import { CommandError, Exit } from "./exit.js";
import { openTopSource, type TopSource } from "./topSource.js";
import { topLines } from "./topText.js";

export interface TopOptions {
  readonly config: string;
  readonly endpoint?: string;
  readonly user?: string;
  readonly once: boolean;
  readonly json: boolean;
}

/** Pause between two frames, in milliseconds. */
const FRAME_MS = 2_000;
const CTRL_C = 3;

/** `braid top`: shows the overview of the console in the terminal. */
export async function top({ config: file, endpoint, user, once, json }: TopOptions): Promise<number> {
  const source = await openTopSource(loadConfig(file), endpoint, user);
  if (source.hint !== undefined) {
    // The second read has rates.
    await source.read();
    if (once || !process.stdout.isTTY) await setTimeout(FRAME_MS);
  }
  if (json) return printJson(source, once);
  if (once || !process.stdout.isTTY) {
    const lines = [...topLines(await source.read(), source.address), ...hintOf(source)];
    process.stdout.write(`${lines.join("\n")}\n`);
    return Exit.ok;
  }
  await draw(source);
  return Exit.ok;
}

/** Prints a line of JSON for each frame. */
async function printJson(source: TopSource, once: boolean): Promise<number> {
  const stop = untilInterrupted();
  for (;;) {
    process.stdout.write(`${JSON.stringify(await source.read())}\n`);
    if (once || stop.signal.aborted) return Exit.ok;
    await setTimeout(FRAME_MS, undefined, { signal: stop.signal }).catch(() => {});
    if (stop.signal.aborted) return Exit.ok;
  }
}

const hintOf = ({ hint }: TopSource): string[] => (hint === undefined ? [] : ["", hint]);

/** Draws frames on the terminal's second screen until q or Ctrl-C. */
async function draw(source: TopSource): Promise<void> {
  const { stdin, stdout } = process;
  const stop = untilInterrupted();
  const pressed = (key: Buffer) => {
    // Ctrl-C is no signal in raw mode.
    if (key.includes("q") || key.includes(CTRL_C)) stop.abort();
  };
  let lines = ["…"];
  const show = () => {
    const { rows = 24, columns = 80 } = stdout;
    const shown = lines.slice(0, rows - 1).map((line) => `${line.slice(0, columns - 1)}\x1b[K\n`);
    stdout.write(`\x1b[H${shown.join("")}\x1b[J`);
  };
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on("data", pressed);
  stdout.on("resize", show);
  stdout.write("\x1b[?1049h\x1b[?25l");
  try {
    show();
    while (!stop.signal.aborted) {
      try {
        lines = [...topLines(await source.read(), source.address), ...hintOf(source), "", "q ends it"];
      } catch (reason) {
        if (!(reason instanceof CommandError)) throw reason;
        lines = [
          `${reason.message}. It is tried again.`,
          "",
          ...lines.filter((line) => !line.endsWith("It is tried again.")),
        ];
      }
      if (stop.signal.aborted) break;
      show();
      await setTimeout(FRAME_MS, undefined, { signal: stop.signal }).catch(() => {});
    }
  } finally {
    stdout.write("\x1b[?25h\x1b[?1049l");
    stdout.off("resize", show);
    stdin.off("data", pressed);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
}

function untilInterrupted(): AbortController {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort());
  return stop;
}
