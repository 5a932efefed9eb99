#!/usr/bin/env node
import { type Command, CommanderError } from "commander";
import { ConfigError } from "../config/error.js";
import { handleLimit, isOutOfHandles, tooFewHandles } from "../ops/handles.js";
import { CommandError, Exit } from "./exit.js";
import { createProgram } from "./program.js";

async function main(argv: readonly string[]): Promise<number> {
  // Later there may be no handle left to read it with.
  const limit = handleLimit();
  let code: number = Exit.ok;
  const program = createProgram((result) => {
    code = result;
  });
  for (const command of withChildren(program)) command.exitOverride();
  try {
    await program.parseAsync(argv);
    return code;
  } catch (error) {
    // commander has told what is wrong; --help and --version end here too, with 0
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.ok : Exit.usage;
    if (error instanceof ConfigError) return tell(Exit.usage, error.message);
    if (error instanceof CommandError) return tell(error.code, error.message);
    // Not even the command's own code could be read.
    if (isOutOfHandles(error)) return tell(Exit.failure, tooFewHandles(limit));
    throw error;
  }
}

function withChildren(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withChildren)];
}

function tell(code: number, message: string): number {
  process.stderr.write(`braid: ${message}\n`);
  return code;
}

// No top-level await: the single executable is a CommonJS bundle, which has none.
void main(process.argv).then((code) => {
  // The code is set, not exited with, so that what is still being written gets out.
  process.exitCode = code;
  // A message channel to whoever started us is no reason to go on.
  process.channel?.unref();
});
