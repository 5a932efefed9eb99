import type { RoutingRule } from "./map.js";

/** A routing rule, prepared for scanning keys. */
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
   * Returns the length of the group of `key`, which starts with the rule's prefix. The group is that many leading bytes.
   *
   * Segments are the non-empty pieces between delimiters after the prefix. So consecutive delimiters separate
   * nothing, nor does one right after the prefix. The group is the key up to the end of its n-th segment, where n
   * is the rule's `segments`. For n = 0, it is the prefix. A key with fewer segments is its own group. Trailing
   * delimiters never belong to a group. With n = 2, `/a/b`, `/a/b/` and `/a/b/c` are one group; `/a` and `/a/` are
   * another. Two keys are in the same group if the bytes of their groups are equal, even under different rules.
   */
  groupEnd(key: Uint8Array): number {
    const end = this.closedEnd(key, key.length);
    return end >= 0 ? end : this.trimmed(key, key.length);
  }

  /**
   * Returns the length of the group that all keys starting with `key[0, length)` share under this rule, or -1 if
   * they have several groups. These bytes include the rule's prefix.
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

  /** Returns the length of `key[0, length)` without trailing delimiters. */
  trimmed(key: Uint8Array, length: number): number {
    let end = length;
    while (end > 0 && key[end - 1] === this.delimiter) end--;
    return end;
  }
}
