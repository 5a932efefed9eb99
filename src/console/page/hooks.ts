import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, type Query, read } from "./api.js";

/** A report, and the last failure to read it. Old data stays while it cannot be read. */
export interface Loaded<T> {
  readonly data: T | undefined;
  readonly error: string | undefined;
}

const EMPTY = { data: undefined, error: undefined };

/**
 * Reads a report now, and again every `everyMs` milliseconds while the page can be seen. Without `everyMs`, it is read once.
 * `queryOf` makes the query of each request, and `take` what is kept of its response. Another `key` begins anew.
 */
export function useReport<T, R = T>(
  name: string,
  key: string,
  queryOf: (known: T | undefined) => Query,
  everyMs?: number,
  take: (report: R, known: T | undefined) => T = (report) => report as unknown as T,
): Loaded<T> & { readonly reload: () => void } {
  const [loaded, setLoaded] = useState<Loaded<T>>(EMPTY);
  const [round, setRound] = useState(0);
  const known = useRef<T | undefined>(undefined);
  useEffect(() => {
    const stop = new AbortController();
    let timer: number | undefined;
    known.current = undefined;
    setLoaded(EMPTY);
    const look = async () => {
      try {
        if (!document.hidden || known.current === undefined) {
          const report = await read<R>(name, queryOf(known.current), stop.signal);
          known.current = take(report, known.current);
          setLoaded({ data: known.current, error: undefined });
        }
      } catch (reason) {
        if (stop.signal.aborted) return;
        const error = reason instanceof ApiError ? reason.message : String(reason);
        setLoaded({ data: known.current, error });
      }
      if (!stop.signal.aborted && everyMs !== undefined) timer = window.setTimeout(look, everyMs);
    };
    void look();
    return () => {
      stop.abort();
      window.clearTimeout(timer);
    };
  }, [name, key, everyMs, round]);
  return { ...loaded, reload: () => setRound(round + 1) };
}
