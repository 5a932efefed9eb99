import { z } from "zod";
import { AddressError } from "./address.js";

/**
 * What the schema says about a setting beside its range and default, in `.meta()`. That comes last in a chain, because
 * `.optional()`, `.default()` and the like leave it behind. `docs/configuration.md` is made of it, by `npm run generate`.
 */
export type Setting = {
  /** What it does, for operators, in Markdown. Links are relative to `docs/`. */
  readonly description: string;
  readonly unit?: "bytes" | "milliseconds" | "seconds";
  /** How a text is written. */
  readonly form?: string;
  /** What applies where it is not given and has no default. */
  readonly absent?: string;
  /** True: SIGHUP takes over a change. Without it a change needs a restart. */
  readonly live?: true;
  /** The section that has the same fields, and explains them. */
  readonly fieldsOf?: string;
  /** Parts of a file that show the section. Default: its fields with their defaults. */
  readonly excerpts?: readonly object[];
};

/** `T` with all that is in it read-only. */
export type ReadOnly<T> = T extends object ? { readonly [K in keyof T]: ReadOnly<T[K]> } : T;

/** A text that `parse` turns into its one spelling, its `AddressError` becoming the problem. */
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

export const positive = (max = Number.MAX_SAFE_INTEGER) => z.int().min(1).max(max);

/** What `setTimeout` can wait at most. */
export const milliseconds = positive(2 ** 31 - 1);
