/** Returns a cluster's name for messages: `shard "a"`, or `timeline host` for an index below 0. */
export function describeShard({
  index = 0,
  name,
}: {
  readonly index?: number;
  readonly name: string;
}): string {
  return index < 0 ? "timeline host" : `shard "${name}"`;
}
