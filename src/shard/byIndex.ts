/** The item of the shard with this index. `items` has one for each shard. Throws `RangeError` if no shard has the index. */
export function byIndex<T>(items: readonly T[], shard: number): T {
  const item = items[shard];
  if (item === undefined) throw new RangeError(`no shard has index ${shard}`);
  return item;
}
