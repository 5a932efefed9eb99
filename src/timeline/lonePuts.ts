import type { Runtime } from "../turn/runtime.js";
import type { CarriedEntry } from "./view.js";

type Send = (entry: CarriedEntry | undefined) => void;

/** Finds the puts that are alone in their turn of the event loop, so that they can carry their entries. */
export class LonePuts {
  /** The only put of this turn. */
  private put: { readonly shard: number; readonly send: Send } | undefined;
  /** True from the first put of this turn until its end. */
  private hasPut = false;

  constructor(
    private readonly runtime: Runtime,
    /** Makes the entry of a lone put on `shard`; undefined if it should carry none after all. */
    private readonly carry: (shard: number) => CarriedEntry | undefined,
  ) {}

  /** Calls `send` once in this turn, with an entry if no other put is added in it. */
  add(shard: number, send: Send): void {
    if (this.hasPut) {
      const first = this.put;
      this.put = undefined;
      first?.send(undefined);
      send(undefined);
      return;
    }
    this.hasPut = true;
    this.put = { shard, send };
    this.runtime.soon(this.endTurn);
  }

  private readonly endTurn = (): void => {
    const { put } = this;
    this.put = undefined;
    this.hasPut = false;
    put?.send(this.carry(put.shard));
  };
}
