import { setTimeout as sleep } from "node:timers/promises";

/** How long a condition may take to come true, ms. */
const PATIENCE = 60_000;

/** Resolves when `condition` holds, looking again and again; rejects after a minute and says what was waited for. */
export async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await sleep(20);
  }
}
