import { thousands } from "./table.js";

/** Pause between two lines about the progress. */
const INTERVAL_MS = 2_000;

/** Calls `print` when two seconds have passed since the last time. */
export function everyInterval(): (print: () => void) => void {
  let last = Date.now();
  return (print) => {
    if (Date.now() - last < INTERVAL_MS) return;
    last = Date.now();
    print();
  };
}

/** Prints lines such as "12,000 of 40,000 keys read" to standard error while that takes long. */
export function reportProgress(noun: string): (read: number, total: number) => void {
  const sometimes = everyInterval();
  return (read, total) =>
    sometimes(() => process.stderr.write(`${thousands(read)} of ${thousands(total)} ${noun} read\n`));
}
