import { removedText } from "./planEnding.js";
import { amountText, milliseconds, stateText } from "./progressText.js";
import type { ClusterStatus, StatusReport } from "./statusReport.js";
import { formatTable, plural, size, thousands } from "./table.js";

/** The report as text. */
export function formatStatus(report: StatusReport, file: string): string {
  const { store, revision, compactRevision, timeline, removed, rules, clusters, isFileInForce } = report;
  const sections = [
    [
      `Store:          ${store ?? "unknown"}`,
      `Revision:       ${orUnknown(revision)}, compacted at ${orUnknown(compactRevision)}`,
      `Timeline host:  ${hostOf(report)}, ${orUnknown(timeline.entries)} entries in the log`,
      `Plan:           ${planOf(report)}`,
    ].join("\n"),
    formatClusters(clusters),
  ];
  if (rules !== null) {
    const rows = rules.map(({ prefix, delimiter, segments, shard }) => [
      prefix === "" ? "every other key" : `"${prefix}"`,
      shard === null ? `${plural(segments, "segment")} by "${delimiter}"` : "pinned",
      shard ?? "by hash",
    ]);
    sections.push(formatTable([["PREFIX", "GROUP", "SHARD"], ...rows]));
  }
  if (removed.length > 0)
    sections.push(["Removed shards:", ...removed.map((each) => `  ${removedText(each)}`)].join("\n"));
  const problems = clusters.flatMap(({ name, error }) => (error === null ? [] : [`  ${name}: ${error}`]));
  if (problems.length > 0) sections.push(["Problems:", ...problems].join("\n"));
  if (isFileInForce === false)
    sections.push(`${file} differs from the store, which is shown above. \`braid plan\` compares them.`);
  return sections.join("\n\n");
}

function hostOf({ timeline, clusters }: StatusReport): string {
  if (timeline.shard !== null) return `shard ${timeline.shard}`;
  return clusters.some(({ weight }) => weight === null) ? "a cluster that is not a shard" : "unknown";
}

function planOf({ plan, revision }: StatusReport): string {
  if (plan === null) return revision === null ? "unknown" : "none";
  const { plan: number, direction, cursor, keys, steps, longestPauseMs } = plan;
  const place = cursor === null ? "the end of all keys" : `"${cursor}"`;
  const amount =
    keys === null && plan.totalKeys === null
      ? ""
      : `\n  ${amountText(plan)}${pauseOf(steps, longestPauseMs)}`;
  const by = plan.proxy === null ? "" : `\n  by the proxy ${plan.proxy}`;
  return `number ${number}${direction === "down" ? ", turned back" : ""}, at ${place}${amount}\n  ${stateText(plan)}${by}`;
}

function pauseOf(steps: number | null, longestPauseMs: number | null): string {
  if (steps === null || steps === 0 || longestPauseMs === null) return "";
  return `, ${plural(steps, "step")}, longest pause ${milliseconds(longestPauseMs)}`;
}

function formatClusters(clusters: readonly ClusterStatus[]): string {
  const withGroups = clusters.some(({ groups }) => groups !== null);
  const groups = (cell: string) => (withGroups ? [cell] : []);
  return formatTable([
    [
      ...["SHARD", "WEIGHT", "STATE", "MEMBERS", "VERSION", "KEYS", ...groups("GROUPS")],
      ...["SIZE", "QUOTA", "GENERATION", "ENDPOINTS"],
    ],
    ...clusters.map((cluster) => [
      cluster.name,
      cluster.weight === null ? "-" : String(cluster.weight),
      cluster.error === null ? "ok" : "failed",
      membersOf(cluster),
      [...new Set(cluster.endpoints.flatMap(({ version }) => version ?? []))].join(", ") || "-",
      orDash(cluster.keys),
      ...groups(orDash(cluster.groups)),
      cluster.size === null ? "-" : size(cluster.size),
      cluster.quota === null ? "-" : size(cluster.quota),
      orDash(cluster.generation),
      cluster.endpoints.map(({ endpoint }) => endpoint).join(", ") || "-",
    ]),
  ]);
}

/** Members that respond, and all members. */
function membersOf({ endpoints }: ClusterStatus): string {
  const reached = endpoints.filter(({ state }) => state !== "unreachable");
  return `${reached.length}/${endpoints.length}`;
}

const orUnknown = (count: number | null): string => (count === null ? "unknown" : thousands(count));
const orDash = (count: number | null): string => (count === null ? "-" : thousands(count));
