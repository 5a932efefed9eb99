import { z } from "zod";

export type Path = readonly (string | number)[];

/** A problem without its line in the file. */
export interface Finding {
  readonly path: Path;
  readonly message: string;
}

/** Reports a problem with a setting. */
export type Find = (path: Path, message: string) => void;

/** `["shards", 1, "name"]` as `shards[1].name`. */
export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? part : `.${part}`;
  }
  return text;
}

/** Checks `input` and describes problems in our own words, one finding per field. */
export function check<S extends z.ZodType>(
  schema: S,
  input: unknown,
): { value: z.output<S> } | { findings: Finding[] } {
  const result = schema.safeParse(input, { error: (issue) => describe(issue as z.core.$ZodRawIssue) });
  if (result.success) return { value: result.data };
  const findings = result.error.issues.flatMap((issue): Finding[] => {
    const path = issue.path as Path;
    if (issue.code !== "unrecognized_keys") return [{ path, message: issue.message }];
    const known = keysAt(schema, path);
    return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey(key, known) }));
  });
  return { findings };
}

function describe(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      if (issue.input === undefined) return "is missing";
      return `must be ${kinds[issue.expected] ?? issue.expected}, not ${kindOf(issue.input, issue.expected)}`;
    case "invalid_value":
      return `must be one of ${issue.values.join(", ")}`;
    case "too_small":
      return issue.origin === "array" ? "must not be empty" : `must be at least ${issue.minimum}`;
    case "too_big":
      return issue.origin === "array"
        ? `must have at most ${issue.maximum} entries`
        : `must be at most ${issue.maximum}`;
    case "invalid_union":
      return `must be ${issue.errors.flat().map(alternative).join(" or ")}`;
    default:
      return undefined;
  }
}

/** The values that one member of a union accepts. */
function alternative(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_value") return issue.values.join(" or ");
  if (issue.code === "invalid_type") return kinds[issue.expected] ?? issue.expected;
  return issue.message;
}

const kinds: Partial<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  array: "a list",
  object: "a mapping",
};

function kindOf(input: unknown, expected: string): string {
  if (Array.isArray(input)) return "a list";
  if (typeof input === "object") return "a mapping";
  if (typeof input === "string") return "text";
  const hint = expected === "string" ? " (quote it if it is meant as text)" : "";
  return `${typeof input === "number" ? "the number " : ""}${input}${hint}`;
}

function unknownKey(key: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  if (nearest && nearest.distance <= Math.max(1, Math.floor(key.length / 3))) {
    return `is unknown; did you mean ${nearest.name}?`;
  }
  return `is unknown; possible here: ${known.join(", ")}`;
}

/** The field names that the schema has at `path`. */
function keysAt(schema: z.ZodType, path: Path): string[] {
  const at = unwrap(fieldAt(schema, path));
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

/** The schema of the field at `path`; undefined if there is none. */
export function fieldAt(schema: z.ZodType, path: Path): z.ZodType | undefined {
  let field: z.ZodType | undefined = schema;
  for (const part of path) {
    const around = unwrap(field);
    if (around instanceof z.ZodArray) field = around.element as z.ZodType;
    else field = around instanceof z.ZodObject ? around.shape[part] : undefined;
  }
  return field;
}

function unwrap(schema: z.ZodType | undefined): z.ZodType | undefined {
  let at = schema;
  while (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault) {
    at = at.unwrap() as z.ZodType;
  }
  return at;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  /** Distances between the part of `a` so far and all beginnings of `b`; the last one is that of all of `b`. */
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const x of a) {
    const [corner = 0, ...above] = row;
    let diagonal = corner;
    let left = diagonal + 1;
    const next = [left];
    for (const [j, up] of above.entries()) {
      left = Math.min(up + 1, left + 1, diagonal + (x === b[j] ? 0 : 1));
      diagonal = up;
      next.push(left);
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
