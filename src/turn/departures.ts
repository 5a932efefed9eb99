/** A sender that collects its output during a turn of the event loop. */
export interface Departing {
  /** Sends the collected output. Called once for each `departWithTurn`. */
  depart(): void;
}

/** Most senders that may collect at the same time, each with a slab of memory. Beyond it, the first ones send early. */
export const MAX_COLLECTING = 64;

let dirty: Departing[] = [];
/** Index of the first sender in `dirty` that has not sent yet. */
let firstDirty = 0;
let steps: (() => void)[] = [];
let leaving = false;

/** `count` changes whenever any connection sends frames. While it is unchanged, everything queued since is still here. */
export const departures = { count: 0 };

/** Calls `step` after all input of this turn of the event loop and before its output leaves. What `step` sends leaves with it. */
export function beforeDeparture(step: () => void): void {
  steps.push(step);
  leave();
}

/** Has `departing` send at the end of this turn of the event loop, or earlier when many are collecting. */
export function departWithTurn(departing: Departing): void {
  dirty.push(departing);
  leave();
  // Each holds a slab: an event for thousands of connections must not take hundreds of megabytes.
  if (dirty.length - firstDirty > MAX_COLLECTING) dirty[firstDirty++]?.depart();
}

function leave(): void {
  if (leaving) return;
  leaving = true;
  setImmediate(departAll);
}

function departAll(): void {
  const due = steps;
  steps = [];
  for (const step of due) step();
  const batch = dirty;
  const first = firstDirty;
  dirty = [];
  firstDirty = 0;
  leaving = false;
  for (let i = first; i < batch.length; i++) batch[i]?.depart();
  // A sender may have added another step.
  if (steps.length > 0) leave();
}
