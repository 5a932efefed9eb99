import { codec, type Init, type MessageCodec } from "./codec.js";
import type { Field } from "./field.js";
import type { Reader } from "./reader.js";
import type { Writer } from "./writer.js";

type Fields = Readonly<Record<string, Field<unknown, never>>>;
type Value<F> = F extends Field<infer T, never> ? T : never;
type Flat<T> = { [K in keyof T]: T[K] };

/** The type of the messages that a table of fields describes. */
type Described<F> = Flat<
  { [K in keyof F as undefined extends Value<F[K]> ? never : K]: Value<F[K]> } & {
    [K in keyof F as undefined extends Value<F[K]> ? K : never]?: Exclude<Value<F[K]>, undefined>;
  } & { unknown?: Uint8Array }
>;

/** The message type of a codec. */
export type MessageOf<C> = C extends MessageCodec<infer T> ? T : never;

/** A message of any type while it is decoded or encoded. */
type Loose = Record<string, unknown> & { unknown?: Uint8Array };

/**
 * Makes the codec of a message type from a table of its fields. It looks up each field in a map, and so is slower than the
 * codecs in generated/codecs.ts, which are for messages on the path of each request.
 */
export function message<F extends Fields>(fields: F): MessageCodec<Described<F>> {
  const table = Object.entries(fields)
    .map(([name, field]) => ({ name, field: field as Field<unknown, unknown> }))
    .sort((a, b) => a.field.tag - b.field.tag);
  const backwards = [...table].reverse();
  const byTag = new Map(table.map((entry) => [entry.field.tag, entry]));
  const numbers = new Set(table.map(({ field }) => Math.floor(field.tag / 8)));

  function empty(): Loose {
    const m: Loose = {};
    for (const { name, field } of table) {
      const zero = field.zero();
      if (zero !== undefined) m[name] = zero;
    }
    return m;
  }

  function read(r: Reader, m = empty()): Loose {
    while (r.more()) {
      const tag = r.tag();
      const known = byTag.get(tag);
      if (known !== undefined) {
        m[known.name] = known.field.read(r, m[known.name]);
      } else {
        const number = Math.floor(tag / 8);
        m.unknown = r.unknown(tag, m.unknown, 0, numbers.has(number) ? number : 0);
      }
    }
    return m;
  }

  function write(w: Writer, m: Loose): void {
    w.raw(m.unknown);
    for (const { name, field } of backwards) field.write(w, m[name]);
  }

  return codec(
    read as (r: Reader, m?: Described<F>) => Described<F>,
    write as (w: Writer, m: Init<Described<F>>) => void,
  );
}
