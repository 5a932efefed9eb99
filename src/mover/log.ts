import type { Timeline } from "../timeline/view.js";

/** The part of the timeline that the mover needs. */
export type MoverLog = Pick<
  Timeline,
  | "locator"
  | "place"
  | "placement"
  | "placements"
  | "proposeChange"
  | "seal"
  | "sync"
  | "toRevision"
  | "versionOffset"
>;
