import { z } from "zod";
import { AddressError } from "./address.js";

/**
 * Describes a setting, in addition to its range and default, in `.meta()`. Call `.meta()` last in a chain, because
 * `.optional()`, `.default()` and similar calls drop it. `npm run generate` writes `docs/configuration.md` from it.
 */
export type Setting = {
  /** Its meaning, for operators, in Markdown. Links are relative to `docs/`. */
  readonly description: string;
  readonly unit?: "bytes" | "milliseconds" | "seconds";
  /** The syntax of a text. */
  readonly form?: string;
  /** What applies if it is not given and has no default. */
  readonly absent?: string;
  /** True: SIGHUP applies a change. Otherwise a change needs a restart. */
  readonly live?: true;
  /** The section that has the same fields, and explains them. */
  readonly fieldsOf?: string;
  /** Parts of a file that show the section. Default: its fields with their defaults. */
  readonly excerpts?: readonly object[];
};

/** `T`, read-only at all levels. */
export type ReadOnly<T> = T extends object ? { readonly [K in keyof T]: ReadOnly<T[K]> } : T;

/** A text that `parse` converts to its canonical spelling. Its `AddressError` is reported as a problem. */
export function address(parse: (text: string) => string) {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof AddressError)) throw error;
      context.issues.push({ code: "custom", message: error.message, input: text });
      return z.NEVER;
    }
  });
}

/** A text with at least one character. */
export const nonEmpty = z.string().min(1);

/** A name that is also a metric's label. */
export const labelName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    "must be 1 to 63 of A-Z a-z 0-9 . _ - and begin with a letter or digit",
  );

export const positive = (max = Number.MAX_SAFE_INTEGER) => z.int().min(1).max(max);

/** Up to the longest time that `setTimeout` can wait. */
export const milliseconds = positive(2 ** 31 - 1);
