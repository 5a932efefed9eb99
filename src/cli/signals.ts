/**
 * Signals closer together than this count as one: npm forwards Ctrl-C to a process that has already got it from the
 * terminal.
 */
const SAME_KEYPRESS_MS = 500;

/**
 * Calls `first` at the first SIGINT or SIGTERM, and `again` at every later one. SIGHUP calls `reload`. Without `reload` it
 * counts as SIGTERM, because a closing terminal sends it.
 */
export function onSignals(first: () => void, again: () => void, reload?: () => void): void {
  let last: number | undefined;
  const handle = () => {
    const now = Date.now();
    if (last === undefined) first();
    else if (now - last > SAME_KEYPRESS_MS) again();
    else return;
    last = now;
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, handle);
  process.on("SIGHUP", reload ?? handle);
}
