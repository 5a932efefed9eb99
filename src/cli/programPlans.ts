import type { Command } from "commander";
import type { ApplyOptions } from "./apply.js";
import { CommandError, Exit } from "./exit.js";
import type { PlanOptions } from "./plan.js";
import { CONFIG, EXIT_CODES, type Finish, parseCount, parseRate } from "./programParts.js";
import type { StatusOptions } from "./status.js";
import type { Steering } from "./steer.js";

const EXIT_CODES_OF_PLAN = `
Exit codes:
  0  success: there is nothing to do
  1  the command failed
  2  the command line or the configuration is wrong, or there are problems that must be solved first
  3  there are changes`;

const EXIT_CODES_OF_APPLY = `
Exit codes:
  0  success: the plan is done, or there is nothing to do, or Ctrl-C left the plan running
  1  the command failed, the plan was declined, or somebody has turned it back
  2  the command line or the configuration is wrong, there are problems that must be solved first, or another plan is
     active; nothing was done`;

const CURRENT = ["--current <file>", "the configuration with which the proxies run now (see below)"] as const;

/** The commands that compare a store with a file, change it, and show it. */
export function addPlans(program: Command, finish: Finish): void {
  program
    .command("plan")
    .description("show what a changed configuration would change in the store, and which keys would move")
    .option(...CONFIG)
    .option(...CURRENT)
    .option("--rate <n>", "keys per second that move, for the estimate of the time", parseRate, 5_000)
    .option("--json", "print JSON", false)
    .addHelpText(
      "after",
      `
Changes nothing. Compares the shards, weights, rules and the timeline host of the file with those of the store. Reads all
keys of the store, without their values, to count those that move. Checks that new shards can be reached, are empty, and
have the same limits, users and roles as the others.

Give --current if neither the file nor the store has the addresses of a shard of the store. A store that was made by
version 0.2, or that began with one shard, has them from the first \`braid apply\` on.

Examples:
  braid plan --config new-shards.yaml
  braid plan --config new-shards.yaml --current /etc/braid/shards.yaml --rate 2000
${EXIT_CODES_OF_PLAN}`,
    )
    .action(async (options: PlanOptions) => {
      const { plan } = await import("./plan.js");
      finish(await plan(options));
    });

  program
    .command("apply")
    .description(
      "change a store that is in use: the proxies move its keys to where a changed configuration places them",
    )
    .option(...CONFIG)
    .option(...CURRENT)
    .option("-y, --yes", "do not ask", false)
    .option("--max-keys-per-second <n>", "how fast keys move at most (0: no limit)", parseCount)
    .option("--watch", "show the active plan until it ends", false)
    .option("--pause", "begin no further step of the active plan", false)
    .option("--resume", "continue the active plan", false)
    .option("--turn-back", "move the keys of the active plan back, and show that", false)
    .option("--json", "print lines of JSON", false)
    .addHelpText(
      "after",
      `
Shows what \`braid plan\` shows, asks, records the plan in the store, and shows its progress. The proxies move the keys, so
at least one has to run. Ctrl-C ends only this command. Clients can keep reading and writing; writes to the keys of a step
wait for some milliseconds while the step ends. When the plan is done, give the file to all proxies.

A step moves whole groups. With --pause, a step that is under way still ends. With --watch or --resume,
--max-keys-per-second changes the rate of the active plan.

Give --current if neither the file nor the store has the addresses of a shard of the store, such as one that the file
removes. A store that was made by version 0.2, or that began with one shard, has them from the first \`braid apply\` on.

--json prints one object in each line. Its "type" is plan (as \`braid plan --json\`), recorded, progress (as "plan" of
\`braid status --json\`, at each change), turned back, paused, resumed, rate, left, none or done. It needs --yes to apply
a file.

Examples:
  braid apply --config new-shards.yaml
  braid apply --config new-shards.yaml --current /etc/braid/shards.yaml --yes --max-keys-per-second 2000
  braid apply --watch
  braid apply --resume --max-keys-per-second 0
  braid apply --turn-back
${EXIT_CODES_OF_APPLY}`,
    )
    .action(async (options: ApplyOptions & Readonly<Record<Steering, boolean>>) => {
      const how = steeringOf(options);
      if (how === undefined) {
        const { apply } = await import("./apply.js");
        finish(await apply(options));
      } else {
        const { steer } = await import("./steer.js");
        finish(await steer(how, options));
      }
    });

  program
    .command("status")
    .description("show the shard map, the timeline, and the state of every shard")
    .option(...CONFIG)
    .option("--groups", "count the groups of each shard, too; reads all keys", false)
    .option("--json", "print JSON", false)
    .addHelpText(
      "after",
      `
Changes nothing. Fails if a shard or the timeline host cannot be read; the others are still shown. \`braid check\` shows
what is wrong with each endpoint.

Example:
  braid status --config /etc/braid/shards.yaml
${EXIT_CODES}`,
    )
    .action(async (options: StatusOptions) => {
      const { status } = await import("./status.js");
      finish(await status(options));
    });
}

const FLAGS = { watch: "--watch", pause: "--pause", resume: "--resume", turnBack: "--turn-back" } as const;

/** What to do with the active plan; undefined to apply a file. Throws a `CommandError` for options that exclude each other. */
function steeringOf(options: ApplyOptions & Readonly<Record<Steering, boolean>>): Steering | undefined {
  const given = (Object.keys(FLAGS) as Steering[]).filter((flag) => options[flag]);
  const [how, other] = given;
  const refuse = (text: string) => new CommandError(Exit.usage, text);
  if (how === undefined) return undefined;
  if (other !== undefined) throw refuse(`${FLAGS[how]} and ${FLAGS[other]} exclude each other`);
  if (options.yes) throw refuse(`--yes is for a file to apply, not for ${FLAGS[how]}`);
  if (options.maxKeysPerSecond !== undefined && (how === "pause" || how === "turnBack"))
    throw refuse(`--max-keys-per-second is for a file to apply, --watch and --resume, not for ${FLAGS[how]}`);
  return how;
}
