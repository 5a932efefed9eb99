/**
 * Signals closer together than this, ms, count as one: npm forwards Ctrl-C to a process that has already
 * got it from the terminal.
 */
const SAME_KEYPRESS = 500;

/**
 * Calls `first` at the first SIGINT or SIGTERM, and `again` at every later one. SIGHUP, which a closing terminal sends,
 * is another of them unless it has a meaning of its own: then it calls `reload`.
 */
export function onSignals(first: () => void, again: () => void, reload?: () => void): void {
  let last: number | undefined;
  const handle = () => {
    const now = Date.now();
    if (last === undefined) first();
    else if (now - last > SAME_KEYPRESS) again();
    else return;
    last = now;
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, handle);
  process.on("SIGHUP", reload ?? handle);
}
