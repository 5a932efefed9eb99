import { setTimeout as sleep } from "node:timers/promises";

/** How long a condition may take to come true, ms. */
const PATIENCE_MS = 60_000;
/** Pause between two looks, ms. */
const INTERVAL_MS = 10;

export type Condition = () => Promise<boolean> | boolean;

/**
 * Resolves when `condition` holds, looking again and again. Rejects after a minute and says what it waited for: `what`, or the
 * condition itself.
 */
export async function until(condition: Condition): Promise<void>;
export async function until(what: string, condition: Condition): Promise<void>;
export async function until(what: string | Condition, given?: Condition): Promise<void> {
  const condition = typeof what === "string" ? given! : what;
  const deadline = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await sleep(INTERVAL_MS);
  }
}
