import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { Code, type StatusError } from "../../status/error.js";
import { share } from "../../turn/buffers.js";
import { departures } from "../../turn/departures.js";

/* Indices below are in range by construction; `!` keeps the hot loops free of checks. */

/** Places of the hash table, a power of two. Requests that collide are not shared; nothing else depends on it. */
const PLACES = 256;
/** Longer requests are rarely equal, so they are not shared. */
const MAX_REQUEST_BYTES = 512;

/** A read in progress. */
interface Flight {
  readonly call: Call;
  readonly request: Uint8Array;
  /** `departures.count` when it began. While it is the same, the requests to shards have not left yet. */
  readonly departure: number;
  /** Equal requests that wait for its response. */
  readonly followers: { readonly call: Call; readonly reply: Reply }[];
}

/**
 * Wraps the handler of a read-only method. Equal requests of one caller share a response when they arrive before the first
 * of them has left for a shard. No client can notice that, because the shards are read after all the requests arrived.
 *
 * The first request only leaves a mark, so that requests without a repetition cost next to nothing. The second one is
 * what the others join.
 */
export function sharing(handler: UnaryHandler): UnaryHandler {
  const hashes = new Int32Array(PLACES);
  const marks = new Float64Array(PLACES).fill(-1);
  const flights = new Array<Flight | undefined>(PLACES).fill(undefined);

  const shared: UnaryHandler = (call, request, reply) => {
    if (request.length > MAX_REQUEST_BYTES) {
      handler(call, request, reply);
      return;
    }
    const hash = hashOf(request);
    const place = hash & (PLACES - 1);
    if (hashes[place] !== hash || marks[place] !== departures.count) {
      hashes[place] = hash;
      marks[place] = departures.count;
      handler(call, request, reply);
      return;
    }
    const flight = flights[place];
    if (flight !== undefined && answersFor(flight, call, request)) flight.followers.push({ call, reply });
    else lead(place, call, request, reply);
  };

  const lead = (place: number, call: Call, request: Uint8Array, reply: Reply): void => {
    const flight: Flight = { call, request, departure: departures.count, followers: [] };
    flights[place] = flight;
    handler(call, request, (error, response) => {
      if (flights[place] === flight) flights[place] = undefined;
      if (response !== undefined) share(response, 1 + flight.followers.length);
      reply(error, response);
      // An error that only concerns the first client is no answer for the others.
      const repeat = error !== undefined && concernsClient(error);
      for (const follower of flight.followers) {
        if (repeat) shared(follower.call, request, follower.reply);
        else follower.reply(error, response);
      }
    });
  };
  return shared;
}

function answersFor(flight: Flight, call: Call, request: Uint8Array): boolean {
  return (
    flight.departure === departures.count &&
    flight.call.caller === call.caller &&
    isEqual(flight.request, request)
  );
}

/** True for a cancellation or a client's deadline. */
const concernsClient = ({ code }: StatusError): boolean =>
  code === Code.CANCELLED || code === Code.DEADLINE_EXCEEDED;

/** FNV-1a. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash ^ (hash >> 15);
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
