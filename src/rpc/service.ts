import type { Handlers } from "./call.js";

/** Methods that belong together, and how to stop them. */
export interface Service extends Handlers {
  /** Ends calls that may wait for long. Called when the proxy stops, before its connections close. */
  drain?(): void;
  /** Ends background work. Called when no handler runs any more. */
  stop?(): void;
}

/** The methods of several services together. Throws when two services have the same method. */
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

/** For a service without unary methods, or without streams. */
export const NONE: ReadonlyMap<string, never> = new Map<string, never>();
