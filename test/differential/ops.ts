import type { Message, UnaryMethod } from "./client.js";

/*
 * Operations as data, so that a failing sequence can be printed and run again. Bytes are latin1 strings, int64
 * are numbers or strings, and a lease whose id the server chose is `auto:<n>`: its n-th grant.
 */

export type Op =
  | { readonly kind: "unary"; readonly method: UnaryMethod; readonly request: Message }
  | { readonly kind: "keepAlive"; readonly ids: readonly string[] }
  | { readonly kind: "watch"; readonly stream: number; readonly request: Message }
  | { readonly kind: "cancel"; readonly stream: number; readonly watchId: string }
  | { readonly kind: "progress"; readonly stream: number }
  | { readonly kind: "settle" }
  /** Keys of the store move to other shards. */
  | { readonly kind: "plan" }
  /** The client goes on with another proxy of the store. */
  | { readonly kind: "move"; readonly proxy: number }
  | { readonly kind: "restart"; readonly proxy: number; readonly signal: "SIGTERM" | "SIGKILL" };

const BYTES = new Set(["key", "range_end", "value"]);
const LEASES = new Set(["lease", "ID"]);

/** The lease ids that one endpoint has chosen, by the order of the grants. */
export class LeaseNames {
  private readonly ids: string[] = [];
  private readonly names = new Map<string, string>();

  add(id: string): void {
    this.names.set(id, `auto:${this.ids.length}`);
    this.ids.push(id);
  }

  idOf(name: string): string {
    // A shortened sequence may lack the grant.
    return name.startsWith("auto:") ? (this.ids[Number(name.slice(5))] ?? "1") : name;
  }

  nameOf(id: string): string {
    return this.names.get(id) ?? id;
  }
}

/** An operation's request for one endpoint. */
export function toWire(value: unknown, leases: LeaseNames, field = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => toWire(item, leases, field));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, toWire(item, leases, name)]),
    );
  }
  if (BYTES.has(field)) return Buffer.from(value as string, "latin1");
  return LEASES.has(field) ? leases.idOf(String(value)) : value;
}

/** An answer as data: bytes as latin1 strings, leases by their names. */
export function fromWire(value: unknown, leases: LeaseNames, field = ""): unknown {
  if (Buffer.isBuffer(value)) return value.toString("latin1");
  if (Array.isArray(value)) return value.map((item) => fromWire(item, leases, field));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [name, fromWire(item, leases, name)]),
    );
  }
  return LEASES.has(field) ? leases.nameOf(String(value)) : value;
}

/** Operations as a file has them, one in a line. */
export function parseOps(text: string): Op[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

export function printOps(ops: readonly Op[]): string {
  return ops.map((op) => `${JSON.stringify(op)}\n`).join("");
}

/** For people: JSON with what is long cut. */
export function show(value: unknown): string {
  return JSON.stringify(value, (_, item) => {
    if (typeof item === "string" && item.length > 200) return `${item.slice(0, 40)}… (${item.length})`;
    if (Array.isArray(item) && item.length > 60) return [...item.slice(0, 3), `… (${item.length})`];
    return item;
  });
}
