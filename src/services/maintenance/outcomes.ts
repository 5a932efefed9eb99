import { StatusError } from "../../status/error.js";

/** The outcome of a request to one backend: a value or an error. */
export type Outcome<T> = {
  /** The backend's name in errors, such as `shard "a"`. */
  readonly name: string;
} & (
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: StatusError }
);

/** Calls all backends at the same time, and waits for all of them. Never rejects. */
export function askEach<B, T>(
  backends: readonly B[],
  nameOf: (backend: B) => string,
  ask: (backend: B) => Promise<T>,
): Promise<Outcome<T>[]> {
  return Promise.all(
    backends.map(async (backend): Promise<Outcome<T>> => {
      const name = nameOf(backend);
      try {
        return { name, value: await ask(backend) };
      } catch (reason) {
        return { name, error: StatusError.from(reason) };
      }
    }),
  );
}

/**
 * The values of all backends. Throws when any has failed: the error itself if all of them have the same one, else an error
 * that names each backend with its failure, with the code of the first.
 */
export function valuesOf<T>(outcomes: readonly Outcome<T>[]): T[] {
  const values: T[] = [];
  const failed: { name: string; error: StatusError }[] = [];
  for (const { name, value, error } of outcomes) {
    if (error === undefined) values.push(value);
    else failed.push({ name, error });
  }
  const [first] = failed;
  if (first === undefined) return values;
  const { code, message } = first.error;
  const alike =
    failed.length === outcomes.length &&
    failed.every(({ error }) => error.code === code && error.message === message);
  if (alike) throw first.error;
  throw new StatusError(code, failed.map(describe).join("; "), { cause: first.error });
}

/** The text of a failure with the backend's name. Connection errors have it already. */
function describe({ name, error }: { name: string; error: StatusError }): string {
  return error.message.startsWith(name) ? error.message : `${name}: ${error.message}`;
}
