import { Command } from "commander";
import { version } from "../ops/package.js";
import type { RepairOptions } from "./authRepair.js";
import { CONFIG, EXIT_CODES, type Finish, parseCount, parsePort, parseShards } from "./programParts.js";
import { addPlans } from "./programPlans.js";
import { addTenants } from "./programTenants.js";
import type { RestoreOptions } from "./snapshot.js";
import type { TopOptions } from "./top.js";

/** The command line of `braid`. Each command's code is loaded when it runs. */
export function createProgram(finish: Finish): Command {
  const program = new Command("braid")
    .description("Many etcd clusters, one store: a proxy that speaks the etcd v3 API over several clusters.")
    .version(version, "-v, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .addHelpText("after", `${EXIT_CODES}\n\nHelp on a command: braid <command> --help`);

  program
    .command("serve")
    .description("run a proxy")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Runs until SIGINT or SIGTERM, and then lets requests in progress finish. A second signal ends it at once.
SIGHUP reads the configuration again. The log names the changed settings, and those that need a restart.

Example:
  braid serve --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (options: { config: string }) => {
      const { serve } = await import("./serve.js");
      finish(await serve(options.config));
    });

  program
    .command("dev")
    .description("run a whole store on this machine: etcds (three by default) and a proxy")
    .option(
      "-p, --port <port>",
      "port of the proxy on 127.0.0.1 (default: 2379, or the next free port)",
      parsePort,
    )
    .option("-d, --data <folder>", "folder for the data", ".braid")
    .option("-s, --shards <n>", "number of shards (default: those of the store, or 3)", parseShards)
    .addHelpText(
      "after",
      `
Needs etcd on the PATH. Ctrl-C keeps the data; to begin with an empty store, delete the folder. With more shards than the
store has, it grows while you can use it, as with \`braid apply\`.

Examples:
  braid dev
  braid dev --port 12379 --data /tmp/another-store
  braid dev --shards 4
${EXIT_CODES}`,
    )
    .action(async (options: { port?: number; data: string; shards?: number }) => {
      const { dev } = await import("./dev.js");
      finish(await dev({ port: options.port, data: options.data, shards: options.shards }));
    });

  program
    .command("health")
    .description("check that the proxy on this machine is alive")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
For health checks in containers without another HTTP client. It requests /livez at metrics.listen, or at the first listen
address. A proxy that requires client certificates (tls.clientCaFile) needs metrics.listen for this.

Example:
  braid health --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (options: { config: string }) => {
      const { health } = await import("./health.js");
      finish(await health(options.config));
    });

  program
    .command("top")
    .description("show what a running proxy and its store do, live")
    .option("-e, --endpoint <host:port>", "address of the proxy's console (default: metrics.listen)")
    .option(
      "-u, --user <name:password>",
      "user of the store, or :PASSWORD for the console's own (default: those of the configuration)",
    )
    .option("--once", "print the overview once", false)
    .option("--json", "print a line of JSON every two seconds; with --once, only one", false)
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Reads the console of a proxy (console in shards.yaml). Without a console, it shows what the metrics have. q or Ctrl-C ends it.

Examples:
  braid top --config /etc/braid/shards.yaml
  braid top --endpoint 10.0.0.7:2381 --user anna:PASSWORD
  braid top --once --json
${EXIT_CODES}`,
    )
    .action(async (options: TopOptions) => {
      const { top } = await import("./top.js");
      finish(await top(options));
    });

  program
    .command("route")
    .description("show where keys live: their routing group, its hash, the shard and the rule")
    .argument("<key...>", "keys")
    .option("--prefix", "treat the keys as prefixes, and show the shards that can have such keys", false)
    .option("--hex", "the keys are hexadecimal digits, for keys that are not text", false)
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Only reads the configuration file; does not connect to any shard.

Examples:
  braid route /apisix/routes/1 /apisix/upstreams/1
  braid route --prefix /apisix/
  braid route --hex 2f61ff
${EXIT_CODES}`,
    )
    .action(async (keys: string[], options: { prefix: boolean; hex: boolean; config: string }) => {
      const { route } = await import("./route.js");
      finish(await route(keys, options));
    });

  program
    .command("check")
    .description(
      "validate the configuration and check every endpoint of every shard and of the timeline host",
    )
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Changes nothing. Fails if an endpoint does not respond or belongs to the wrong cluster.

Example:
  braid check --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (options: { config: string }) => {
      const { check } = await import("./check.js");
      finish(await check(options.config));
    });

  addPlans(program, finish);

  program
    .command("adopt")
    .description("accept a rebuilt cluster as the cluster of a shard")
    .argument("<shard>", "name of the shard, or _timeline for a timeline host that is not a shard")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Proxies refuse a shard if its etcd cluster is not the one that the store was created with. If you have rebuilt the
cluster from its newest data, run this command, then restart the proxies. It refuses a cluster that lacks
acknowledged writes, or that belongs to something else.

Example:
  braid adopt a --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (shard: string, options: { config: string }) => {
      const { adopt } = await import("./adopt.js");
      finish(await adopt(shard, options.config));
    });

  addSnapshot(program, finish);
  addAuth(program, finish);
  addTenants(program, finish);
  return program;
}

function addSnapshot(program: Command, finish: Finish): void {
  const snapshot = program
    .command("snapshot")
    .description("save a whole store at one revision, and build new clusters from it")
    .helpCommand(false)
    .addHelpText(
      "after",
      `
Examples:
  braid snapshot save /backup/monday --config /etc/braid/shards.yaml
  braid snapshot status /backup/monday
  braid snapshot restore /backup/monday --data /var/lib/braid
${EXIT_CODES}`,
    );

  snapshot
    .command("save")
    .description("save all shards and the timeline at one revision")
    .argument("<folder>", "folder to write: it must not exist, or be empty")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Clients can keep reading and writing. The folder appears when it is complete. If the shards have authentication on,
the proxy's user must have the role root.

Example:
  braid snapshot save /backup/monday --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (folder: string, options: { config: string }) => {
      const { save } = await import("./snapshot.js");
      finish(await save(folder, options.config));
    });

  snapshot
    .command("status")
    .description("check the files of a snapshot and show its contents")
    .argument("<folder>", "the snapshot")
    .addHelpText(
      "after",
      `
Example:
  braid snapshot status /backup/monday
${EXIT_CODES}`,
    )
    .action(async (folder: string) => {
      const { status } = await import("./snapshot.js");
      finish(await status(folder));
    });

  snapshot
    .command("restore")
    .description("build the data directories of new clusters from a snapshot")
    .argument("<folder>", "the snapshot")
    .requiredOption("-d, --data <folder>", "folder to write: it must not exist, or be empty")
    .option(
      "-m, --member <cluster/name=url>",
      "a member of a cluster, with its peer URL; repeat for every member (default: one member on 127.0.0.1)",
      (member: string, members: string[] = []) => [...members, member],
    )
    .option(
      "--bump-revision <n>",
      "number of revisions to skip, so that none is used twice; 0: continue at the snapshot's revision",
      parseCount,
      1_000_000_000,
    )
    .option("--etcdutl <command>", "etcdutl or etcdctl to run (default: the one on the PATH)")
    .addHelpText(
      "after",
      `
Restores the state at the snapshot's revision: keys, values, revisions, versions, leases (each with its full time to
live again) and users. A timeline host that is not a shard is the cluster _timeline. Later changes are lost. So that
clients notice, the next revision is much higher, and older revisions count as compacted: watches that resume get
etcd's error for this, and their clients load everything again.

The folder gets <cluster>/<member>/ for each member, and shards.yaml. Needs etcd's own etcdutl (or etcdctl before 3.6),
of the same minor version as the saved etcds, or newer.

Examples:
  braid snapshot restore /backup/monday --data /var/lib/braid
  braid snapshot restore /backup/monday --data /var/lib/braid \\
    -m east/m1=http://10.0.0.1:2380 -m east/m2=http://10.0.0.2:2380 -m east/m3=http://10.0.0.3:2380 \\
    -m west/m1=http://10.0.1.1:2380
${EXIT_CODES}`,
    )
    .action(async (folder: string, options: RestoreOptions) => {
      const { restore } = await import("./snapshot.js");
      finish(await restore(folder, options));
    });
}

function addAuth(program: Command, finish: Finish): void {
  const auth = program.command("auth").description("the shards' users and roles").helpCommand(false);

  auth
    .command("repair")
    .description("show how the shards' users, roles and grants differ, and make them the same")
    .option(
      "-s, --source <shard>",
      "the shard with the right users and roles (default without --fix: the first)",
    )
    .option("--fix", "make all shards like the source", false)
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Use this if a change of users or roles took effect only on some shards, or if a shard was changed without the proxies.
It uses the proxy's own user. Users and roles that the source does not have are deleted on the other shards. Passwords
cannot be read: a user that is missing on a shard gets a random password there. Set a new one through a proxy before
the user logs in. Do the same for a user whose passwords differ.

Exits with 1 if there are differences and --fix is not given.

Examples:
  braid auth repair --config /etc/braid/shards.yaml
  braid auth repair --fix --source east --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (options: RepairOptions) => {
      const { repair } = await import("./authRepair.js");
      finish(await repair(options));
    });
}
