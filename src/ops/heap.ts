import { setFlagsFromString } from "node:v8";

/**
 * How much live memory may grow before a full collection. V8 counts buffers of messages and sockets, megabytes
 * that are soon garbage, against a heap that is small here. By default, a few large ranges would trigger a full
 * collection each time.
 */
const HEAP_GROWTH_PERCENT = 200;

/** Tunes the garbage collector for a proxy. Call it when the process starts. */
export function tuneHeap(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`);
}
