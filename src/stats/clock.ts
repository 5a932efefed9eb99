/*
 * The time, for what asks often: read once for everything that one callback of the event loop does, such as all messages of one
 * piece of data from a socket. That is exact to a fraction of a millisecond.
 */

let known = false;
let time = 0;
const settled = Promise.resolve();
const forget = () => {
  known = false;
};

/** Milliseconds since some moment in the past, as `performance.now()`. */
export function turnTime(): number {
  if (!known) {
    time = performance.now();
    known = true;
    // Runs when the callback has ended.
    settled.then(forget);
  }
  return time;
}
