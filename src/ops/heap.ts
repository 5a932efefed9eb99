import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * How much live memory may grow before a full collection. V8 counts buffers of messages and sockets, megabytes
 * that are soon garbage, against a heap that is small here. By default, a few large ranges would trigger a full
 * collection each time.
 */
const HEAP_GROWTH_PERCENT = 200;
/** Fewest clients whose leaving is worth a full collection. Each takes some 10 KiB. */
const MIN_LEFT = 500;
const CHECK_INTERVAL_MS = 5_000;

/** Collects all garbage. Undefined in programs whose process is not ours to tune. */
let collect: (() => void) | undefined;

/** Tunes the garbage collector for a proxy. Call it when the process starts. */
export function tuneHeap(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
  setFlagsFromString("--expose-gc");
  collect = runInNewContext("gc") as () => void;
}

/** Decides when the memory of clients that have left is collected. */
export class Departed {
  private most = 0;
  private last = 0;

  /** Call it from time to time with the number of open connections. True: more than half have left, and no more are leaving. */
  check(open: number): boolean {
    const isSettled = open >= this.last;
    this.last = open;
    this.most = Math.max(this.most, open);
    if (!isSettled || this.most - open < MIN_LEFT || open > this.most / 2) return false;
    this.most = open;
    return true;
  }
}

/**
 * Gives memory back after many clients have left. V8 itself collects when something allocates, which a proxy without clients
 * hardly does. Does nothing without `tuneHeap`. Returns a function that ends it.
 */
export function collectAfterDepartures(open: () => number): () => void {
  if (collect === undefined) return () => {};
  const departed = new Departed();
  const timer = setInterval(() => {
    if (departed.check(open())) collect?.();
  }, CHECK_INTERVAL_MS).unref();
  return () => clearInterval(timer);
}
