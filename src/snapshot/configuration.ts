import { stringify } from "yaml";
import { parseMap } from "../routing/fingerprint.js";
import type { RoutingRule } from "../routing/map.js";
import type { Manifest } from "./manifest.js";
import { clusterName } from "./restore.js";
import type { SavedTimeline } from "./savedTimeline.js";

/**
 * The part of shards.yaml that defines the store: shards, timeline host and routing, as they were saved. `endpoints` maps
 * cluster names to endpoints.
 */
export function configurationOf(
  { clusters, hostShard }: Manifest,
  { base }: SavedTimeline,
  endpoints: ReadonlyMap<string, readonly string[]>,
): string {
  const map = parseMap(base.map);
  const host = clusters.find(({ shard }) => shard === hostShard)!;
  return stringify({
    shards: map.shards.map(({ name, weight }) => ({
      name,
      endpoints: endpoints.get(name),
      ...(weight !== 1 && { weight }),
    })),
    timeline: hostShard < 0 ? { endpoints: endpoints.get(clusterName(host)) } : { host: host.name },
    routing: {
      default: map.rules.filter(({ prefix }) => prefix.length === 0).map(placement)[0],
      rules: map.rules
        .filter(({ prefix }) => prefix.length > 0)
        .map((rule) => ({ ...prefixOf(rule), ...placement(rule) })),
    },
  });
}

/** The prefix as text if it is text, and otherwise in base64. */
function prefixOf({ prefix }: RoutingRule): { prefix: string } | { prefixBase64: string } {
  const bytes = Buffer.from(prefix);
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) ? { prefix: text } : { prefixBase64: bytes.toString("base64") };
}

function placement({ delimiter, segments, shard }: RoutingRule): object {
  return { delimiter: String.fromCharCode(delimiter), segments, ...(shard !== undefined && { shard }) };
}
