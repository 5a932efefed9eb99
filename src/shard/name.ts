/** A cluster in texts for people: `shard "a"`, or with an index below 0 the timeline host that is no shard. */
export function describeShard({
  index = 0,
  name,
}: {
  readonly index?: number;
  readonly name: string;
}): string {
  return index < 0 ? "timeline host" : `shard "${name}"`;
}
