/** Counts the moments at which requests leave for shards; see `Outbox.flush`. */
export { departures } from "../http2/outbox.js";
