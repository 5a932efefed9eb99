import type { Router } from "../routing/router.js";
import type { Locator } from "./locator.js";
import type { MapRouter } from "./maps.js";
import type { PlacementState } from "./placement.js";

/** The part of the timeline that the router needs. */
export interface Placed {
  readonly locator: Locator;
  readonly placement: Readonly<Pick<PlacementState, "plan" | "inForce" | "shards">>;
}

/**
 * Routes keys by the placement as it is folded at the moment of the call: by the map in force, or during a plan by its two
 * maps. Without a plan it costs no more than the map's own router.
 */
export class LocatorRouter implements Router {
  private text: string | undefined;
  private router!: MapRouter;

  constructor(private readonly placed: Placed) {}

  get shardCount(): number {
    return this.placed.placement.shards.length;
  }

  shardOf(key: Uint8Array): number {
    const { plan, inForce } = this.placed.placement;
    return plan === undefined ? this.by(inForce).shardOf(key) : this.placed.locator.shardOf(key);
  }

  shardsOf(key: Uint8Array, rangeEnd: Uint8Array): readonly number[] {
    const { plan, inForce } = this.placed.placement;
    if (plan === undefined) return this.by(inForce).shardsOf(key, rangeEnd);
    return this.placed.locator.shardsOf({ key, end: rangeEnd });
  }

  /** The home by the map in force, also during a plan. */
  homeOf(lease: bigint): number {
    return this.by(this.placed.placement.inForce).homeOf(lease);
  }

  private by(text: string): MapRouter {
    // The text is long, so it is compared only while it is the same object.
    if (text !== this.text) {
      this.router = this.placed.locator.router(text);
      this.text = text;
    }
    return this.router;
  }
}
