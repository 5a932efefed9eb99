import { setFlagsFromString } from "node:v8";

/**
 * Percent by which what is alive may grow before all of the heap is collected. V8 counts messages and what is read from
 * sockets, megabytes that are soon garbage, with a heap that is small here; by its own measure a few large ranges
 * would have it collected each time.
 */
const GROWTH = 200;

/** Sets the garbage collector to what a proxy needs; for the start of the process. */
export function tuneHeap(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH}`);
}
