/** Something that collects what it has to send during a turn of the event loop. */
export interface Departing {
  /** Sends what was collected. Called once for each `departWithTurn`. */
  depart(): void;
}

/** Senders that may collect at the same time, each with a slab of memory; above it the first ones send early. */
export const MAX_COLLECTING = 64;

let dirty: Departing[] = [];
/** Those before it have sent during the turn already. */
let firstDirty = 0;
let steps: (() => void)[] = [];
let leaving = false;

/**
 * `count` changes whenever frames of any connection leave. As long as it has not changed, all that was queued on a
 * connection since is still here.
 */
export const departures = { count: 0 };

/**
 * Calls `step` once all input of this turn of the event loop has been handled, before the output leaves. What `step`
 * sends leaves with it.
 */
export function beforeDeparture(step: () => void): void {
  steps.push(step);
  leave();
}

/** Lets `departing` send at the end of this turn of the event loop, or earlier when many are collecting. */
export function departWithTurn(departing: Departing): void {
  dirty.push(departing);
  leave();
  // Each holds a slab: an event for thousands of connections must not take hundreds of megabytes.
  if (dirty.length - firstDirty > MAX_COLLECTING) dirty[firstDirty++].depart();
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
  for (let i = first; i < batch.length; i++) batch[i].depart();
  // A sender may have asked for another step.
  if (steps.length > 0) leave();
}
