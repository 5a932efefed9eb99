/*
 * A clock for hot paths: it is read once per callback of the event loop, such as all messages in one chunk from a
 * socket. The time is exact to a fraction of a millisecond.
 */

let known = false;
let time = 0;
const settled = Promise.resolve();
const forget = () => {
  known = false;
};

/** Monotonic time in milliseconds, on the scale of `performance.now()`. */
export function turnTime(): number {
  if (!known) {
    time = performance.now();
    known = true;
    // Runs when the callback has ended.
    settled.then(forget);
  }
  return time;
}
