import { Command, InvalidArgumentError } from "commander";
import { version } from "../ops/package.js";

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
    .argument("<shard>", "name of the shard")
    .option(...CONFIG)
    .addHelpText(
      "after",
      `
Proxies refuse a shard whose etcd cluster is another one than when the store was made. When it was rebuilt on
purpose, from its newest data, this makes it known; then restart the proxies. A cluster that lacks data which
clients were told is stored is not adopted.

Example:
  braid adopt a --config /etc/braid/shards.yaml
${exitCodes}`,
    )
    .action(async (shard: string, options: { config: string }) => {
      const { adopt } = await import("./adopt.js");
      finish(await adopt(shard, options.config));
    });

  return program;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
    throw new InvalidArgumentError("It must be a number from 1 to 65535.");
  }
  return port;
}
