import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { saveStore } from "../app/store/store.js";
import { formatHostPort, parseEndpoint } from "../config/address.js";
import { loadConfig } from "../config/load.js";
import { createLog } from "../ops/log.js";
import { version } from "../ops/package.js";
import { configurationOf } from "../snapshot/configuration.js";
import { filesOf, type Manifest, readManifest, verifyFiles } from "../snapshot/manifest.js";
import type { NewMember } from "../snapshot/members.js";
import { clusterName, readTimeline, restoreSnapshot } from "../snapshot/restore.js";
import { withDetail } from "../status/error.js";
import { CommandError, Exit } from "./exit.js";
import { everyInterval } from "./progress.js";
import { onSignals } from "./signals.js";
import { formatTable } from "./table.js";

const MIB = 2 ** 20;

/** `braid snapshot save`: saves all shards at one revision. */
export async function save(folder: string, configFile: string): Promise<number> {
  const config = loadConfig(configFile);
  const begin = Date.now();
  const sometimes = everyInterval();
  endAtSignal();
  const manifest = await withoutStack(() =>
    saveStore(
      config,
      {
        folder: resolve(folder),
        braid: version,
        progress: (bytes, total) => sometimes(() => say(`${mib(bytes)} of about ${mib(total)} MiB`)),
      },
      createLog("silent"),
    ),
  );
  const seconds = ((Date.now() - begin) / 1000).toFixed(1);
  process.stdout.write(`${summary(folder, manifest)}\n\nSaved in ${seconds} s.\n`);
  return Exit.ok;
}

/** `braid snapshot status`: checks a snapshot's files and shows its contents. */
export async function status(folder: string): Promise<number> {
  const manifest = await withoutStack(async () => {
    const manifest = readManifest(folder);
    await verifyFiles(folder, manifest);
    return manifest;
  });
  process.stdout.write(`${summary(folder, manifest)}\n\nAll files are intact.\n`);
  return Exit.ok;
}

export interface RestoreOptions {
  readonly data: string;
  /** `cluster/name=peer-url` each. */
  readonly member: readonly string[] | undefined;
  readonly bumpRevision: number;
  /** The program to use instead of the one on the PATH. */
  readonly etcdutl: string | undefined;
}

/** `braid snapshot restore`: builds data directories for new clusters. */
export async function restore(folder: string, options: RestoreOptions): Promise<number> {
  const out = resolve(options.data);
  const clusters = (await withoutStack(async () => readManifest(folder))).clusters.map(clusterName);
  const given = parseMembers(options.member ?? [], clusters);
  const layout = clusters.map((cluster, i) => layoutOf(cluster, i, given.get(cluster)));
  endAtSignal();
  const manifest = await withoutStack(async () => {
    const restored = await restoreSnapshot({
      folder,
      out,
      members: new Map(layout.map(({ cluster, members }) => [cluster, members])),
      bumpRevision: options.bumpRevision,
      tool: options.etcdutl,
      say,
    });
    const endpoints = new Map(
      layout.map(({ cluster, members }) => [cluster, members.map((each) => each.client)]),
    );
    writeFileSync(join(out, "shards.yaml"), configurationOf(restored, readTimeline(folder), endpoints));
    return restored;
  });
  const commands = layout.flatMap(({ cluster, members }) =>
    members.map(({ name, peerUrl, client }) =>
      [
        `  etcd --name ${name} --data-dir ${join(options.data, cluster, name)} \\`,
        `    --listen-peer-urls ${peerUrl} --initial-advertise-peer-urls ${peerUrl} \\`,
        `    --listen-client-urls http://${client} --advertise-client-urls http://${client}`,
      ].join("\n"),
    ),
  );
  const next = manifest.revision + options.bumpRevision + 1;
  process.stdout.write(
    `${[
      `Restored the store at revision ${manifest.revision}; the next revision will be ${next}.`,
      "",
      "1. Stop the proxies and the old clusters, if they still run.",
      "2. Start every member on its machine, with its data directory (adapt the URLs if necessary):",
      "",
      ...commands,
      "",
      `3. Copy the shards, timeline and routing of ${join(options.data, "shards.yaml")} into your configuration,`,
      "   with the members' endpoints. Then run:",
      "",
      "  braid check --config shards.yaml",
      "  braid serve --config shards.yaml",
    ].join("\n")}\n`,
  );
  return Exit.ok;
}

/** Addresses of a cluster's members. By default, one member on this machine, as in the example shards.yaml. */
function layoutOf(
  cluster: string,
  index: number,
  given: readonly NewMember[] | undefined,
): { cluster: string; members: (NewMember & { client: string })[] } {
  const local = {
    name: "m1",
    peerUrl: `http://127.0.0.1:${23801 + index}`,
    client: `127.0.0.1:${23791 + index}`,
  };
  if (given === undefined) return { cluster, members: [local] };
  return {
    cluster,
    members: given.map((member) => ({ ...member, client: clientOf(member.peerUrl) })),
  };
}

/** The client address of the member with this peer URL, with etcd's default port. */
function clientOf(peerUrl: string): string {
  return formatHostPort({ host: parseEndpoint(peerUrl).host, port: 2379 });
}

function parseMembers(texts: readonly string[], clusters: readonly string[]): Map<string, NewMember[]> {
  const members = new Map<string, NewMember[]>();
  for (const text of texts) {
    const [, cluster, name, peerUrl] = /^([^/]+)\/([^/=,]+)=(https?:\/\/[^/,]+)$/.exec(text) ?? [];
    if (cluster === undefined || name === undefined || peerUrl === undefined) {
      const form = "<cluster>/<name>=<peer URL>, e.g. east/m1=http://10.0.0.1:2380";
      throw new CommandError(Exit.usage, `--member ${text}: it must be ${form}`);
    }
    if (!clusters.includes(cluster)) {
      const names = clusters.join(", ");
      throw new CommandError(
        Exit.usage,
        `--member ${text}: the snapshot has no cluster "${cluster}"; its clusters are ${names}`,
      );
    }
    try {
      parseEndpoint(peerUrl);
    } catch (error) {
      throw new CommandError(Exit.usage, `--member ${text}: its peer URL: ${(error as Error).message}`);
    }
    const others = members.get(cluster) ?? [];
    if (others.some((other) => other.name === name || other.peerUrl === peerUrl)) {
      throw new CommandError(Exit.usage, `--member ${text}: this name or URL is given twice`);
    }
    members.set(cluster, [...others, { name, peerUrl }]);
  }
  return members;
}

function summary(folder: string, manifest: Manifest): string {
  const bytes = filesOf(manifest).reduce((sum, file) => sum + file.bytes, 0);
  return [
    `${folder}: the store at revision ${manifest.revision}, saved ${manifest.savedAt}, ${mib(bytes)} MiB`,
    "",
    formatTable([
      ["CLUSTER", "VERSION", "REVISION", "SIZE", "FILE"],
      ...manifest.clusters.map(({ shard, name, version, revision, bytes, file }) => [
        shard < 0 ? name : `shard ${name}${shard === manifest.hostShard ? " (timeline host)" : ""}`,
        version,
        String(revision),
        `${mib(bytes)} MiB`,
        file,
      ]),
    ]),
  ].join("\n");
}

/** Reports errors without a stack. */
async function withoutStack<T>(action: () => Promise<T>): Promise<T> {
  return action().catch((error: Error) => {
    throw error instanceof CommandError ? error : new CommandError(Exit.failure, withDetail(error));
  });
}

/** Ends the process at a signal. Incomplete folders are removed when it exits. */
function endAtSignal(): void {
  const end = () => process.exit(Exit.failure);
  onSignals(end, end);
}

const mib = (bytes: number): string => (bytes / MIB).toFixed(1);

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
