import type { Handlers } from "./call.js";

/** Methods that belong together, by their full path, and what they need to end. */
export interface Service extends Handlers {
  /** Ends calls that may wait for long. Called when the proxy stops, before its connections are closed. */
  drain?(): void;
  /** Ends what runs in the background. Called once no handler runs any more. */
  stop?(): void;
}

/** The methods of several services. Throws when two of them have the same one. */
export function combine(services: readonly Handlers[]): Handlers {
  return {
    unary: join(services.map(({ unary }) => unary)),
    stream: join(services.map(({ stream }) => stream)),
  };
}

function join<H>(maps: readonly ReadonlyMap<string, H>[]): Map<string, H> {
  const joined = new Map<string, H>();
  for (const [path, handler] of maps.flatMap((map) => [...map])) {
    if (joined.has(path)) throw new Error(`two services have the method ${path}`);
    joined.set(path, handler);
  }
  return joined;
}

/** The streams of a service without any, and the unary methods of one that has streams only. */
export const NONE: ReadonlyMap<string, never> = new Map<string, never>();
