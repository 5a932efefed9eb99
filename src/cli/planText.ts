import type { PlanKeys, PlanReport } from "./planReport.js";
import { formatTable, plural, size, thousands } from "./table.js";

/** Most split groups to list. */
const MAX_SPLITS = 10;

/** The report as text. */
export function formatPlan(report: PlanReport, file: string): string {
  const { changes, problems, warnings, keys } = report;
  const sections: string[] = [];
  if (changes.length === 0 && problems.length === 0) {
    return [`${file} has the shard map of the store. There is nothing to do.`, ...warnings].join("\n\n");
  }
  if (changes.length > 0)
    sections.push(
      list(
        `Changes from the store to ${file}:`,
        changes.map(({ message }) => message),
      ),
    );
  if (keys !== null) sections.push(...formatKeys(keys, report.revision));
  else if (changes.length > 0)
    sections.push("The keys could not be counted, because a shard cannot be read.");
  if (warnings.length > 0) sections.push(list("Warnings:", warnings));
  if (problems.length > 0) sections.push(list("Problems that must be solved first:", problems));
  return sections.join("\n\n");
}

const list = (heading: string, lines: readonly string[]): string =>
  [heading, ...lines.map((line) => `  ${line}`)].join("\n");

function formatKeys(keys: PlanKeys, revision: number | null): string[] {
  if (keys.moving === 0) return [`None of the ${plural(keys.total, "key")} moves.`, ...formatSplits(keys)];
  const moves = formatTable([
    ["FROM", "TO", "GROUPS", "KEYS", "SIZE"],
    ...keys.moves.map(({ from, to, groups, keys, bytes }) => [
      from,
      to,
      thousands(groups),
      thousands(keys),
      size(bytes),
    ]),
    ["all", "", thousands(keys.movingGroups), thousands(keys.moving), size(keys.movingBytes)],
  ]);
  const shards = formatTable([
    ["SHARD", "KEYS NOW", "KEYS THEN", ""],
    ...keys.shards.map(({ name, state, before, after }) => [
      name,
      thousands(before),
      thousands(after),
      state === "kept" ? "" : state,
    ]),
  ]);
  const share = Math.round((100 * keys.moving) / keys.total);
  return [
    `${thousands(keys.moving)} of ${plural(keys.total, "key")} (${share}%) move, counted at revision ${revision}:`,
    moves,
    shards,
    `Keys move in steps, and writes to the keys of a step wait while it ends. No step splits a group. ` +
      `${stepsOf(keys)}\n` +
      `At ${thousands(keys.rate)} keys per second, this takes ${duration(keys.seconds)}. The speed was not measured.\n` +
      `Sizes are estimates from ${plural(keys.sampled, "key")}.`,
    ...formatSplits(keys),
  ];
}

const stepsOf = ({ steps, largestStep }: PlanKeys): string =>
  steps === 1
    ? `There would be one step, of ${plural(largestStep, "key")}.`
    : `There would be ${plural(steps, "step")}, the largest of ${plural(largestStep, "key")}.`;

function formatSplits({ splits }: PlanKeys): string[] {
  if (splits.length === 0) return [];
  const shown = splits.slice(0, MAX_SPLITS);
  const more = splits.length - shown.length;
  const one = splits.length === 1;
  return [
    [
      `The new rules split ${plural(splits.length, "group")}. A transaction that writes to parts of ` +
        `${one ? "this group" : "one of these groups"} on several shards will be refused:`,
      formatTable([
        ["GROUP", "KEYS", "PARTS", "SHARDS"],
        ...shown.map(({ name, pinned, keys, parts, shards }) => [
          pinned ? `"${name}" (pinned prefix)` : `"${name}"`,
          thousands(keys),
          thousands(parts),
          thousands(shards),
        ]),
      ]),
      ...(more > 0 ? [`and ${thousands(more)} more (--json lists all)`] : []),
    ].join("\n"),
  ];
}

/** A duration in words, rounded up to whole seconds, minutes or tenths of an hour. */
export function duration(seconds: number): string {
  if (seconds <= 120) return `about ${plural(Math.ceil(seconds), "second")}`;
  if (seconds <= 2 * 3600) return `about ${plural(Math.ceil(seconds / 60), "minute")}`;
  return `about ${(seconds / 3600).toFixed(1)} hours`;
}
