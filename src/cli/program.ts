import { Command, InvalidArgumentError } from "commander";
import { version } from "../ops/package.js";
import type { RepairOptions } from "./auth.js";
import type { RestoreOptions } from "./snapshot.js";

/** Sets what the process will end with; commands resolve to an exit code. */
export type Finish = (code: number) => void;

const CONFIG = ["-c, --config <file>", "configuration file", "shards.yaml"] as const;

const exitCodes = `
Exit codes:
  0  success
  1  failure: it was tried and did not work
  2  the command line or the configuration is wrong; nothing was tried`;

/** The command line of `braid`. Each command's code is loaded when it runs. */
export function createProgram(finish: Finish): Command {
  const program = new Command("braid")
    .description("Many etcd clusters, one store: a proxy that speaks the etcd v3 API over several clusters.")
    .version(version, "-v, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand(false)
    .addHelpText("after", `${exitCodes}\n\nHelp on a command: braid <command> --help`);

  program
    .command("serve")
    .description("run a proxy")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Runs until SIGINT or SIGTERM, which let requests in progress finish; a second signal ends it at once.
SIGHUP has it read the configuration again; the log says what changed, and what needs a restart.

Example:
  braid serve --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (options: { config: string }) => {
      const { serve } = await import("./serve.js");
      finish(await serve(options.config));
    });

  program
    .command("dev")
    .description("run a whole store on this machine: three etcds and a proxy")
    .option(
      "-p, --port <port>",
      "port of the proxy on 127.0.0.1 (default: 2379, or the next free one)",
      parsePort,
    )
    .option("-d, --data <folder>", "where the data is kept", ".braid")
    .addHelpText(
      "after",
      `
Needs etcd on the PATH. The data outlives Ctrl-C; delete the folder to start anew.

Examples:
  braid dev
  braid dev --port 12379 --data /tmp/another-store
${exitCodes}`,
    )
    .action(async (options: { port?: number; data: string }) => {
      const { dev } = await import("./dev.js");
      finish(await dev({ port: options.port, data: options.data }));
    });

  program
    .command("health")
    .description("ask the proxy on this machine whether it is alive")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
For health checks of containers, where there is no other HTTP client. It asks for /livez at metrics.listen, else at the first
listen address. A proxy that demands client certificates (tls.clientCaFile) needs metrics.listen for this.

Example:
  braid health --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (options: { config: string }) => {
      const { health } = await import("./health.js");
      finish(await health(options.config));
    });

  program
    .command("route")
    .description("show where keys live: their routing group, its hash, the shard and the rule")
    .argument("<key...>", "keys")
    .option("--prefix", "take the keys as prefixes and show the shards that such keys can be on", false)
    .option("--hex", "keys are given as hexadecimal digits, for keys that are no text", false)
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Reads the configuration file only; no shard is contacted.

Examples:
  braid route /apisix/routes/1 /apisix/upstreams/1
  braid route --prefix /apisix/
  braid route --hex 2f61ff
${exitCodes}`,
    )
    .action(async (keys: string[], options: { prefix: boolean; hex: boolean; config: string }) => {
      const { route } = await import("./route.js");
      finish(await route(keys, options));
    });

  program
    .command("check")
    .description(
      "validate the configuration and reach every endpoint of every shard and of the timeline host",
    )
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Changes nothing. It fails when any endpoint does not answer or belongs to another cluster than it should.

Example:
  braid check --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (options: { config: string }) => {
      const { check } = await import("./check.js");
      finish(await check(options.config));
    });

  program
    .command("adopt")
    .description("make a rebuilt cluster the one that belongs to a shard")
    .argument("<shard>", "name of the shard, or _timeline for a timeline host that is no shard")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Proxies refuse a shard whose etcd cluster is another one than when the store was made. When it was rebuilt on
purpose, from its newest data, this makes it known; then restart the proxies. A cluster that lacks data which
clients were told is stored is not adopted, nor is one that belongs to something else.

Example:
  braid adopt a --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (shard: string, options: { config: string }) => {
      const { adopt } = await import("./adopt.js");
      finish(await adopt(shard, options.config));
    });

  addSnapshot(program, finish);
  addAuth(program, finish);
  return program;
}

function addSnapshot(program: Command, finish: Finish): void {
  const snapshot = program
    .command("snapshot")
    .description("save a whole store at one revision, and build new clusters from what was saved")
    .helpCommand(false)
    .addHelpText(
      "after",
      `
Examples:
  braid snapshot save /backup/monday --config /etc/braid/shards.yaml
  braid snapshot status /backup/monday
  braid snapshot restore /backup/monday --data /var/lib/braid
${exitCodes}`,
    );

  snapshot
    .command("save")
    .description("save all shards and the timeline at one revision")
    .argument("<folder>", "where to: a folder that does not exist, or is empty")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Clients go on reading and writing meanwhile. The folder appears when it is complete. Where the shards have
authentication on, the proxy's user must have the role root.

Example:
  braid snapshot save /backup/monday --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (folder: string, options: { config: string }) => {
      const { save } = await import("./snapshot.js");
      finish(await save(folder, options.config));
    });

  snapshot
    .command("status")
    .description("check the files of a snapshot and show what is in it")
    .argument("<folder>", "the snapshot")
    .addHelpText(
      "after",
      `
Example:
  braid snapshot status /backup/monday
${exitCodes}`,
    )
    .action(async (folder: string) => {
      const { status } = await import("./snapshot.js");
      finish(await status(folder));
    });

  snapshot
    .command("restore")
    .description("build the data directories of new clusters from a snapshot")
    .argument("<folder>", "the snapshot")
    .requiredOption("-d, --data <folder>", "where to: a folder that does not exist, or is empty")
    .option(
      "-m, --member <cluster/name=url>",
      "a member that a cluster shall have, with its peer URL; repeat it for every member (default: one, on 127.0.0.1)",
      (member: string, members: string[] = []) => [...members, member],
    )
    .option(
      "--bump-revision <n>",
      "how many revisions to leave out, so that none comes twice; 0: go on where the snapshot ends",
      parseCount,
      1_000_000_000,
    )
    .option("--etcdutl <command>", "etcdutl or etcdctl to use (default: the one on the PATH)")
    .addHelpText(
      "after",
      `
Every cluster shows what it showed at the snapshot's revision: keys, values, revisions, versions, leases (each
with its full time to live again) and users. A timeline host of its own is the cluster _timeline. What clients
have seen since then is gone; so that they notice, the revisions go on far above, and what is older counts as
compacted: watches that resume get etcd's error for it and their clients load anew.

The folder gets <cluster>/<member>/ for each member and shards.yaml. Needs etcd's own etcdutl (or etcdctl before
3.6), of the minor version of the etcds that were saved or newer.

Examples:
  braid snapshot restore /backup/monday --data /var/lib/braid
  braid snapshot restore /backup/monday --data /var/lib/braid \\
    -m east/m1=http://10.0.0.1:2380 -m east/m2=http://10.0.0.2:2380 -m east/m3=http://10.0.0.3:2380 \\
    -m west/m1=http://10.0.1.1:2380
${exitCodes}`,
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
    .option("-s, --source <shard>", "the shard that is right (default, only to compare: the first)")
    .option("--fix", "make all shards like the source", false)
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
For when a change of users or roles was carried out on some shards alone, or somebody changed a shard past the
proxies. It works with the proxy's own user. What the source does not have is deleted on the others. Passwords
cannot be read: a user who is missing on a shard gets a password there that nobody knows, and has to be given a new
one through a proxy before it can log in; so has one whose passwords differ.

Ends with 1 when there are differences and --fix is not given.

Examples:
  braid auth repair --config /etc/braid/shards.yaml
  braid auth repair --fix --source east --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (options: RepairOptions) => {
      const { repair } = await import("./auth.js");
      finish(await repair(options));
    });
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > 2 ** 50)
    throw new InvalidArgumentError("It must be a number from 0 on.");
  return count;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
    throw new InvalidArgumentError("It must be a number from 1 to 65535.");
  }
  return port;
}
