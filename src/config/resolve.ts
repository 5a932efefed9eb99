import { availableParallelism } from "node:os";
import { printable } from "../routing/bytes.js";
import type { RoutingRule } from "../routing/map.js";
import { hostPortOf, isWildcard, parseHostPort } from "./address.js";
import type { Find, Finding, Path } from "./problems.js";
import { MAX_WORKERS, type Shape } from "./schema.js";
import { resolveAuth, resolveConsole, resolveOwnAuth } from "./secrets.js";
import { resolveTenants } from "./tenants.js";
import { checkShardTls, resolveListenTls, resolveShardTls } from "./tls.js";
import type { Config, TimelineConfig } from "./types.js";

/** Turns a file that matches the schema into a configuration. Problems between fields are added to `findings`. */
export function resolve(shape: Shape, findings: Finding[]): Config {
  const find = (path: Path, message: string) => findings.push({ path, message });
  checkListen(shape, find);
  checkShards(shape, find);
  checkMetrics(shape, find);
  checkCommonTls(shape, find);
  const { listen, workers, shards, limits, reads, http2, watch, http } = shape;
  const { shardTls, transport, log, metrics, shutdown, tracing } = shape;
  return {
    listen,
    advertise: resolveAdvertise(shape, find),
    workers: workers === "auto" ? Math.min(availableParallelism(), MAX_WORKERS) : workers,
    tls: resolveListenTls(shape.tls),
    shardTls,
    shards: shards.map(({ auth, tls, ...shard }, i) => ({
      ...shard,
      ...resolveShardTls({ ...shard, tls }, shape.shardTls, ["shards", i], find),
      ...resolveOwnAuth(auth, ["shards", i, "auth"], find),
    })),
    timeline: resolveTimeline(shape, find),
    map: { shards: shards.map(({ name, weight }) => ({ name, weight })), rules: resolveRules(shape, find) },
    auth: resolveAuth(shape.auth, find),
    tenants: resolveTenants(shape.tenants, find),
    limits,
    reads,
    http2,
    watch,
    http,
    transport,
    log,
    metrics: { listen: metrics.listen },
    console: resolveConsole(shape.console, find),
    shutdown,
    tracing,
  };
}

function checkListen({ listen }: Shape, find: Find): void {
  listen.forEach((address, i) => {
    const first = listen.indexOf(address);
    if (first < i && parseHostPort(address).port !== 0) find(["listen", i], `repeats listen[${first}]`);
  });
}

function checkMetrics({ listen, metrics, console }: Shape, find: Find): void {
  const at = metrics.listen === undefined ? -1 : listen.indexOf(metrics.listen);
  if (at >= 0) find(["metrics", "listen"], `is the same as listen[${at}], which serves /metrics anyway`);
  if (console.enabled && metrics.listen === undefined)
    find(["console", "enabled"], "needs metrics.listen, the address of the console");
}

function resolveAdvertise({ listen, advertise, tls }: Shape, find: Find): readonly string[] | undefined {
  if (advertise) {
    advertise.forEach((url, i) => {
      const first = advertise.indexOf(url);
      if (first < i) find(["advertise", i], `repeats advertise[${first}]`);
      if (tls && url.startsWith("http:")) {
        find(["advertise", i], "must be https://, because the proxies use TLS (tls)");
      }
    });
    return advertise;
  }
  const wildcard = listen.findIndex((address) => isWildcard(parseHostPort(address).host));
  if (wildcard >= 0) {
    const text = `is missing: clients cannot connect to ${listen[wildcard]}, so give the URLs that they can use`;
    find(["advertise"], text);
  }
  return undefined;
}

function checkShards({ shards, listen }: Shape, find: Find): void {
  const names = new Map<string, number>();
  const owners = new Map<string, string>(listen.map((address) => [address, "this proxy (listen)"]));
  shards.forEach((shard, i) => {
    const first = names.get(shard.name);
    if (first === undefined) names.set(shard.name, i);
    else find(["shards", i, "name"], `is already the name of shards[${first}]`);
    shard.endpoints.forEach((endpoint, j) => {
      const owner = owners.get(hostPortOf(endpoint));
      if (owner !== undefined) find(["shards", i, "endpoints", j], `${endpoint} already belongs to ${owner}`);
      else owners.set(hostPortOf(endpoint), `shards[${i}]`);
    });
  });
}

/** Checks `shardTls`, which applies to all clusters. */
function checkCommonTls({ shards, timeline, shardTls }: Shape, find: Find): void {
  checkShardTls(shardTls, ["shardTls"], find);
  const endpoints = [...shards.flatMap((shard) => shard.endpoints), ...(timeline.endpoints ?? [])];
  if (shardTls && !endpoints.some((endpoint) => endpoint.startsWith("https://"))) {
    find(["shardTls"], "has no effect: no endpoint begins with https://");
  }
}

const NOT_DEDICATED = "applies only to a timeline host that is not a shard; set it at the shard instead";

function resolveTimeline(shape: Shape, find: Find): TimelineConfig {
  const { shards, timeline, listen } = shape;
  const { host, endpoints, tls } = timeline;
  if (endpoints) {
    const places = new Set<string>();
    endpoints.forEach((endpoint, i) => {
      const place = hostPortOf(endpoint);
      const shard = shards.find((each) => each.endpoints.map(hostPortOf).includes(place));
      const path = ["timeline", "endpoints", i];
      if (shard) find(path, `${endpoint} belongs to shard ${shard.name}; write host: ${shard.name}`);
      if (listen.includes(place)) find(path, `${endpoint} is this proxy itself (listen)`);
      if (places.has(place)) find(path, `${endpoint} is given twice`);
      places.add(place);
    });
    return {
      kind: "dedicated",
      endpoints,
      ...resolveShardTls({ endpoints, tls }, shape.shardTls, ["timeline"], find),
      ...resolveOwnAuth(timeline.auth, ["timeline", "auth"], find),
    };
  }
  if (tls) find(["timeline", "tls"], NOT_DEDICATED);
  if (timeline.auth) find(["timeline", "auth"], NOT_DEDICATED);
  const shard = host === undefined ? 0 : shards.findIndex(({ name }) => name === host);
  if (shard < 0) find(["timeline", "host"], noShard(host!, shards));
  return { kind: "shard", shard };
}

function resolveRules({ shards, routing }: Shape, find: Find): RoutingRule[] {
  const rules: RoutingRule[] = [];
  const prefixes = new Map<string, number>();
  const checkPin = (shard: string | undefined, path: Path) => {
    if (shard !== undefined && !shards.some(({ name }) => name === shard)) find(path, noShard(shard, shards));
  };
  if (routing.default) {
    rules.push({ prefix: new Uint8Array(0), ...routing.default });
    checkPin(routing.default.shard, ["routing", "default", "shard"]);
  }
  routing.rules.forEach(({ prefix: text, prefixBase64, ...rest }, i) => {
    const path = ["routing", "rules", i];
    checkPin(rest.shard, [...path, "shard"]);
    if ((text === undefined) === (prefixBase64 === undefined)) {
      find(path, text === undefined ? "prefix is missing" : "give prefix or prefixBase64, not both");
      return;
    }
    const field = [...path, text === undefined ? "prefixBase64" : "prefix"];
    const prefix = Uint8Array.from(
      text === undefined ? Buffer.from(prefixBase64!, "base64") : Buffer.from(text),
    );
    if (prefix.length === 0) find(field, "must not be empty; the rule for all keys is routing.default");
    if (prefix.length > 1024) find(field, "must have at most 1024 bytes");
    if (prefix[0] === 0) find(field, "keys that begin with a zero byte are reserved");
    const first = prefixes.get(printable(prefix));
    if (first === undefined) prefixes.set(printable(prefix), i);
    else find(field, `is already the prefix of routing.rules[${first}]`);
    rules.push({ prefix, ...rest });
  });
  return rules;
}

function noShard(name: string, shards: Shape["shards"]): string {
  return `there is no shard ${name}; the shards are ${shards.map((shard) => shard.name).join(", ")}`;
}
