import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/ops/package.js";

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** A metric in a query of the dashboard, with the labels that the query selects or groups by. */
export interface Query {
  readonly panel: string;
  readonly metric: string;
  readonly labels: readonly string[];
}

const dashboard = JSON.parse(readFileSync(join(packageRoot, "docs/grafana/etcd-braid.json"), "utf8"));
const SCRAPED = new Set(["job", "instance", "le"]);

/** Returns every use of a metric in docs/grafana/etcd-braid.json. */
export function dashboardQueries(): Query[] {
  const panels: readonly Panel[] = dashboard.panels;
  const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
  const variables: readonly { name: string; definition?: string }[] = dashboard.templating.list;
  for (const { name, definition } of variables)
    if (definition) queries.push({ title: name, expr: definition });
  return queries.flatMap(({ title, expr }) => {
    const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels]) => labels!.split(/,\s*/));
    return [...expr.matchAll(/\b((?:braid|process|nodejs|etcd|grpc)_\w+)(?:\{([^}]*)\})?/g)].map(
      ([, metric, selectors = ""]) => {
        const selected = [...selectors.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!);
        const labels = [...new Set([...selected, ...grouped])].filter((label) => !SCRAPED.has(label));
        return { panel: title, metric: metric!, labels };
      },
    );
  });
}
