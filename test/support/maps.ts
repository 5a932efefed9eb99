import { Maps } from "../../src/reshard/maps.js";
import { fingerprint } from "../../src/routing/fingerprint.js";
import { Hasher } from "../../src/routing/hash.js";

const MOST_SHARDS = 8;
const hasher = await Hasher.load();
const names = Array.from({ length: MOST_SHARDS }, (_, index) => ({ name: `s${index}`, weight: 1 }));
const texts = await Promise.all(
  names.map(async (_, last) => (await fingerprint({ shards: names.slice(0, last + 1), rules: [] })).text),
);

/** The text of a map of the shards `s0`, `s1`, …, at most 8, with the default rules. */
export const mapText = (shards: number): string => texts[shards - 1];

export const newMaps = (): Maps => new Maps(hasher);

/** For timelines whose log never moves. */
export function noOtherHost(): never {
  throw new Error("the log does not move");
}
