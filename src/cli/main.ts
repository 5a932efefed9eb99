#!/usr/bin/env node
import { type Command, CommanderError } from "commander";
import { ConfigError } from "../config/error.js";
import { areTooFewHandles, handleLimit, isOutOfHandles, tooFewHandles } from "../ops/handles.js";
import { CommandError, Exit } from "./exit.js";
import { createProgram } from "./program.js";

async function main(argv: readonly string[]): Promise<number> {
  // Read the limit now: later there may be no handle left to read it with.
  const limit = handleLimit();
  let code: number = Exit.ok;
  const program = createProgram((result) => {
    code = result;
  });
  for (const command of withChildren(program)) command.exitOverride();
  program.hook("preAction", () => {
    if (areTooFewHandles(limit)) throw new CommandError(Exit.failure, tooFewHandles(limit));
  });
  try {
    await program.parseAsync(argv);
    return code;
  } catch (error) {
    // commander has already printed the error. --help and --version end here too, with 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.ok : Exit.usage;
    if (error instanceof ConfigError) return fail(Exit.usage, error.message);
    if (error instanceof CommandError) return fail(error.code, error.message);
    if (isOutOfHandles(error)) return fail(Exit.failure, tooFewHandles(limit));
    throw error;
  }
}

function withChildren(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withChildren)];
}

function fail(code: number, message: string): number {
  process.stderr.write(`braid: ${message}\n`);
  return code;
}

// No top-level await: the single executable is a CommonJS bundle, which does not support it.
void main(process.argv).then((code) => {
  // Set the code instead of exiting, so that pending output is written.
  process.exitCode = code;
  // A message channel to the parent process must not keep this process alive.
  process.channel?.unref();
});
