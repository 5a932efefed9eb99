/** Answers of shards are lent: who has read one may give it back. */
export { giveBack, lendUntilSent, share } from "../http2/buffers.js";
