import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import { parseHostPort } from "../../src/config/address.js";
import { loadConfig } from "../../src/config/load.js";
import { packageRoot, version } from "../../src/ops/package.js";

const packaging = join(packageRoot, "packaging");
const base = join(packaging, "kubernetes/base");

interface Resource {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has another one
  readonly spec: any;
}

const resources = readdirSync(base)
  .filter((name) => name !== "shards.yaml" && name !== "kustomization.yaml")
  .flatMap((name) => parseAllDocuments(readFileSync(join(base, name), "utf8")))
  .map((document) => document.toJS() as Resource);
const find = (kind: string): Resource => resources.find((resource) => resource.kind === kind)!;
const { template } = find("Deployment").spec;
const [container] = template.spec.containers;

for (const folder of ["compose", "kubernetes/base"]) {
  test(`${folder}/shards.yaml is a configuration for a container`, () => {
    const { listen, advertise, metrics } = loadConfig(join(packaging, folder, "shards.yaml"));
    assert.deepEqual([...listen, metrics.listen], ["0.0.0.0:2379", "0.0.0.0:2381"]);
    assert.ok(advertise!.length > 0);
  });
}

test("what compose calls shards and proxies are its services", () => {
  const { services } = parse(readFileSync(join(packaging, "compose/compose.yaml"), "utf8"), { merge: true });
  const { shards, advertise } = loadConfig(join(packaging, "compose/shards.yaml"));
  const hosts = [
    ...shards.flatMap(({ endpoints }) => endpoints),
    ...advertise!.map((url) => url.slice("http://".length)),
  ];
  assert.deepEqual(hosts.map((host) => parseHostPort(host).host).sort(), Object.keys(services).sort());
  for (const service of Object.values(services) as { depends_on?: object }[])
    for (const name of Object.keys(service.depends_on ?? {})) assert.ok(name in services, name);
});

test("every selector in Kubernetes chooses the pods and nothing else", () => {
  const wanted = { "app.kubernetes.io/name": "etcd-braid" };
  assert.deepEqual(template.metadata.labels, wanted);
  const selectors = resources.flatMap(({ kind, spec }) =>
    kind === "Service" ? [spec.selector] : (spec?.selector?.matchLabels ?? []),
  );
  const [spread] = template.spec.topologySpreadConstraints;
  assert.deepEqual([...selectors, spread.labelSelector.matchLabels], Array(5).fill(wanted));
});

test("the ports, the signal's grace and the version in Kubernetes are the proxy's", () => {
  const { listen, metrics, shutdown } = loadConfig(join(base, "shards.yaml"));
  const ports = Object.fromEntries(
    container.ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [
      name,
      containerPort,
    ]),
  );
  assert.deepEqual(ports, {
    client: parseHostPort(listen[0]!).port,
    metrics: parseHostPort(metrics.listen!).port,
  });
  const pause = container.lifecycle.preStop.sleep.seconds;
  assert.ok(template.spec.terminationGracePeriodSeconds > pause + shutdown.graceMs / 1000);
  const { images } = parse(readFileSync(join(base, "kustomization.yaml"), "utf8"));
  assert.equal(images[0].newTag, version);
});
