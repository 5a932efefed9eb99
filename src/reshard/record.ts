/*
 * What the store records about a plan beside the log: on the timeline host, below all keys of clients, and outside the keys of
 * the log, whose revisions proxies hide. Nothing here decides where a key is. A record that cannot be read counts as absent.
 */

const PREFIX = "\0braid-reshard/";

/** Holds a `Control`. Written by operators' commands. */
export const CONTROL_KEY = Buffer.from(`${PREFIX}control`);
/** Holds a `Seat`, under a lease of `SEAT_TTL_SECONDS`. */
export const SEAT_KEY = Buffer.from(`${PREFIX}mover`);
/** Holds a `ProgressRecord`. Written by the proxy that moves keys. */
export const PROGRESS_KEY = Buffer.from(`${PREFIX}progress`);

/** TTL of the lease of `SEAT_KEY`. A proxy that dies keeps others from moving keys for this time. */
export const SEAT_TTL_SECONDS = 5;

/** What an operator wants of the plan with this number. */
export interface Control {
  readonly plan: number;
  /** True: no further step begins. */
  readonly paused: boolean;
  /** Most keys to copy per second, above 0; null: no limit. */
  readonly maxKeysPerSecond: number | null;
  /** Keys that the plan moves in total; null: not counted. */
  readonly keys: number | null;
  /** Bytes of these keys and their values; null: not counted. */
  readonly bytes: number | null;
}

/** Which proxy moves keys. */
export interface Seat {
  /** `<host name>:<process id>/<random>`. */
  readonly proxy: string;
}

/** How far a plan is. Totals are of the plan with this number, over all proxies that have moved its keys. */
export interface ProgressRecord {
  readonly plan: number;
  /** The proxy that wrote the record, as in `Seat`. */
  readonly proxy: string;
  /** When it was written, in milliseconds since the epoch. */
  readonly at: number;
  /** What the mover was doing; `Phase` in src/mover/progress.ts. */
  readonly phase: string;
  /** The step under way, as printable text; null between steps. `to` null: the end of the keyspace. */
  readonly step: { readonly from: string | null; readonly to: string | null } | null;
  /** Keys copied in this step; 0 between steps. */
  readonly stepKeys: number;
  /** Keys of the steps that have moved. */
  readonly keys: number;
  /** Bytes of these keys and their values. */
  readonly bytes: number;
  /** Steps that have moved. */
  readonly steps: number;
  /** Keys per second of the last step. */
  readonly keysPerSecond: number;
  /** How long calls to the last step waited, in milliseconds. */
  readonly lastPauseMs: number;
  readonly longestPauseMs: number;
  /** Why the mover does not get on, for operators; null if it does. */
  readonly waiting: string | null;
}

/** A record as it was read. */
export interface Reading<T> {
  /** Undefined when there is none, or none that can be read. */
  readonly record: T | undefined;
  /** Why an existing value is not a record, for the log. */
  readonly problem: string | undefined;
}

export const encodeControl = (control: Control): Buffer => encode(control);
export const encodeSeat = (seat: Seat): Buffer => encode(seat);
export const encodeProgress = (progress: ProgressRecord): Buffer => encode(progress);

/** Decodes the value of `CONTROL_KEY`; undefined: the key does not exist. */
export const decodeControl = (value: Uint8Array | undefined): Reading<Control> =>
  decode(value, (fields) => ({
    plan: countOf(fields.plan),
    paused: flagOf(fields.paused),
    maxKeysPerSecond: rateOf(fields.maxKeysPerSecond),
    keys: orNull(fields.keys, countOf),
    bytes: orNull(fields.bytes, countOf),
  }));

/** Decodes the value of `SEAT_KEY`; undefined: the key does not exist. */
export const decodeSeat = (value: Uint8Array | undefined): Reading<Seat> =>
  decode(value, (fields) => ({ proxy: textOf(fields.proxy) }));

/** Decodes the value of `PROGRESS_KEY`; undefined: the key does not exist. */
export const decodeProgress = (value: Uint8Array | undefined): Reading<ProgressRecord> =>
  decode(value, (fields) => ({
    plan: countOf(fields.plan),
    proxy: textOf(fields.proxy),
    at: amountOf(fields.at),
    phase: textOf(fields.phase),
    step: orNull(fields.step, (json) => {
      const { from, to } = fieldsOf(json);
      return { from: orNull(from, textOf), to: orNull(to, textOf) };
    }),
    stepKeys: countOf(fields.stepKeys),
    keys: countOf(fields.keys),
    bytes: countOf(fields.bytes),
    steps: countOf(fields.steps),
    keysPerSecond: amountOf(fields.keysPerSecond),
    lastPauseMs: amountOf(fields.lastPauseMs),
    longestPauseMs: amountOf(fields.longestPauseMs),
    waiting: orNull(fields.waiting, textOf),
  }));

/** What applies to a plan: the record if it is about this plan; otherwise there is no pause and no limit. */
export const controlOf = (record: Control | undefined, plan: number): Control =>
  record?.plan === plan ? record : { plan, paused: false, maxKeysPerSecond: null, keys: null, bytes: null };

const FORMAT = 1;

const encode = (record: object): Buffer => Buffer.from(JSON.stringify({ format: FORMAT, ...record }));

type Fields = Readonly<Record<string, unknown>>;

function decode<T>(value: Uint8Array | undefined, read: (fields: Fields) => T): Reading<T> {
  if (value === undefined) return { record: undefined, problem: undefined };
  try {
    const fields = fieldsOf(JSON.parse(Buffer.from(value).toString()));
    if (fields.format !== FORMAT)
      throw new SyntaxError(`format ${JSON.stringify(fields.format)} instead of ${FORMAT}`);
    return { record: read(fields), problem: undefined };
  } catch (error) {
    return { record: undefined, problem: (error as SyntaxError).message };
  }
}

function fieldsOf(json: unknown): Fields {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw expected("an object", json);
  return json as Fields;
}

function countOf(json: unknown): number {
  if (!Number.isSafeInteger(json) || (json as number) < 0)
    throw expected("an integer from 0 to 2^53 - 1", json);
  return json as number;
}

function amountOf(json: unknown): number {
  if (typeof json !== "number" || json < 0) throw expected("a number of at least 0", json);
  return json;
}

function rateOf(json: unknown): number | null {
  const rate = orNull(json, amountOf);
  if (rate === 0) throw expected("a number above 0", json);
  return rate;
}

function flagOf(json: unknown): boolean {
  if (typeof json !== "boolean") throw expected("true or false", json);
  return json;
}

function textOf(json: unknown): string {
  if (typeof json !== "string") throw expected("a string", json);
  return json;
}

const orNull = <T>(json: unknown, read: (json: unknown) => T): T | null =>
  json === null ? null : read(json);

const expected = (what: string, json: unknown): SyntaxError =>
  new SyntaxError(`expected ${what} instead of ${JSON.stringify(json)}`);
