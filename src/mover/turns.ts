import type { Runtime } from "../turn/runtime.js";

/** Items for one turn of the event loop: about a millisecond's work, because clients' calls wait for it. */
const PER_TURN = 256;

/** Calls `visit` for all items, over several turns of the event loop. */
export async function inTurns<T>(
  items: readonly T[],
  { later }: Pick<Runtime, "later">,
  visit: (item: T) => void,
): Promise<void> {
  for (let at = 0; at < items.length; at += PER_TURN) {
    if (at > 0) await new Promise<void>((resolve) => later(resolve));
    for (const item of items.slice(at, at + PER_TURN)) visit(item);
  }
}
