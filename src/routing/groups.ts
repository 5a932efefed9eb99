import type { RoutingRule } from "./map.js";

/** A rule made ready: what the scan of a key needs, in numbers. */
export class Grouping {
  readonly rule: RoutingRule;
  /** Index of the shard that the rule pins its keys to, or -1. */
  readonly pin: number;
  readonly prefixLength: number;
  readonly delimiter: number;
  readonly segments: number;
  /** Length of the prefix without trailing delimiters. */
  readonly trimmedPrefix: number;

  constructor(rule: RoutingRule, pin: number) {
    this.rule = rule;
    this.pin = pin;
    this.prefixLength = rule.prefix.length;
    this.delimiter = rule.delimiter;
    this.segments = rule.segments;
    this.trimmedPrefix = this.trimmed(rule.prefix, rule.prefix.length);
  }

  /**
   * Length of the group of `key`, which begins with the rule's prefix: the group is that many leading bytes.
   *
   * Segments are the non-empty pieces between delimiters in what follows the prefix; so delimiters that
   * follow each other, and one right after the prefix, separate nothing. The group is the key up to the end
   * of its n-th segment, n being the rule's `segments`. A key with fewer segments, and the prefix itself when n
   * is 0, is its own group without trailing delimiters. So `/a/b`, `/a/b/` and `/a/b/c` are one group for n = 2, `/a` and
   * `/a/` are another. Two keys are in the same group if the bytes of their groups are the same, whichever rules made them.
   */
  groupEnd(key: Uint8Array): number {
    const end = this.closedEnd(key, key.length);
    return end >= 0 ? end : this.trimmed(key, key.length);
  }

  /**
   * Length of the group that every key beginning with the first `length` bytes of `key` has under this
   * rule (they include the prefix); -1 when such keys fall into different groups.
   */
  closedEnd(key: Uint8Array, length: number): number {
    if (this.segments === 0) return this.trimmedPrefix;
    let seen = 0;
    let inside = false;
    for (let i = this.prefixLength; i < length; i++) {
      if (key[i] !== this.delimiter) {
        if (!inside) {
          inside = true;
          seen++;
        }
      } else if (inside) {
        if (seen === this.segments) return i;
        inside = false;
      }
    }
    return -1;
  }

  /** Where the first `length` bytes of `key` end without trailing delimiters. */
  trimmed(key: Uint8Array, length: number): number {
    let end = length;
    while (end > 0 && key[end - 1] === this.delimiter) end--;
    return end;
  }
}
