import { StatusError } from "../../status/error.js";

/** What one backend made of a request. */
export interface Outcome<T> {
  /** As errors call the backend: `shard "a"`. */
  readonly name: string;
  readonly value?: T;
  readonly error?: StatusError;
}

/** Asks all backends at the same time and waits for all of them. Never rejects. */
export function everywhere<B, T>(
  backends: readonly B[],
  name: (backend: B) => string,
  ask: (backend: B) => Promise<T>,
): Promise<Outcome<T>[]> {
  return Promise.all(
    backends.map(async (backend) => {
      try {
        return { name: name(backend), value: await ask(backend) };
      } catch (reason) {
        return { name: name(backend), error: StatusError.from(reason) };
      }
    }),
  );
}

/**
 * The answers of all backends. Throws when any failed: what all of them say alike in their own words, else each
 * failure with its backend's name, under the first one's code.
 */
export function answersOf<T>(outcomes: readonly Outcome<T>[]): T[] {
  const failed = outcomes.filter((outcome) => outcome.error !== undefined);
  if (failed.length === 0) return outcomes.map(({ value }) => value as T);
  const first = failed[0]!.error!;
  const alike =
    failed.length === outcomes.length &&
    failed.every(({ error }) => error!.code === first.code && error!.message === first.message);
  if (alike) throw first;
  throw new StatusError(first.code, failed.map(named).join("; "), { cause: first });
}

/** A failure's text with the backend's name, which connection failures have already. */
function named({ name, error }: Outcome<unknown>): string {
  return error!.message.startsWith(name) ? error!.message : `${name}: ${error!.message}`;
}
