import { field } from "./field.js";
import { header } from "./header.js";
import { type MessageOf, message } from "./message.js";

/** Forgets the states before a revision. */
export const CompactionRequest = message({
  revision: field.int64(1),
  /** Whether to answer only when the space is freed. */
  physical: field.bool(2),
});
export type CompactionRequest = MessageOf<typeof CompactionRequest>;

/** Answer to a compaction. */
export const CompactionResponse = message({ header });
export type CompactionResponse = MessageOf<typeof CompactionResponse>;
