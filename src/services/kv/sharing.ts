import type { Call, Reply, UnaryHandler } from "../../rpc/call.js";
import { Code, type StatusError } from "../../status/error.js";
import { share } from "../../turn/buffers.js";
import { departures } from "../../turn/departures.js";

/** A power of two. Two requests in one place of the table only cost each other the chance to be shared. */
const PLACES = 256;
/** Longer requests are too rarely equal, bytes. */
const MAX_LENGTH = 512;

/** A read that is on its way. */
interface Flight {
  readonly call: Call;
  readonly request: Uint8Array;
  /** `departures.count` when it was begun: its requests to shards are still here while that is the same. */
  readonly departure: number;
  /** Others who wait for its answer. */
  readonly followers: { readonly call: Call; readonly reply: Reply }[];
}

/**
 * `handler`, of a method that only reads, with one answer for equal requests of one caller that come before the first of
 * them has left for a shard. Nobody can tell it from an answer of their own: the shards are read after all of them
 * have been asked.
 *
 * The first of them goes its own way, leaving a mark, so that requests which nobody repeats cost next to nothing; the second
 * is the one that others join.
 */
export function sharing(handler: UnaryHandler): UnaryHandler {
  const hashes = new Int32Array(PLACES);
  const marks = new Float64Array(PLACES).fill(-1);
  const flights = new Array<Flight | undefined>(PLACES).fill(undefined);

  const shared: UnaryHandler = (call, request, reply) => {
    if (request.length > MAX_LENGTH) {
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
      // What ended only because of the first one's client is asked again for the others.
      const repeat = error !== undefined && endsWithClient(error);
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

const endsWithClient = ({ code }: StatusError): boolean =>
  code === Code.CANCELLED || code === Code.DEADLINE_EXCEEDED;

/** FNV-1a. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash ^ (hash >> 15);
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
