/** The moments at which requests leave for shards; see `Outbox.flush`. */
export { beforeDeparture, departures } from "../http2/outbox.js";
