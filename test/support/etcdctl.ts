import { type ChildProcess, spawn } from "node:child_process";
import { endWithParent } from "../../src/dev/guard.js";
import { Running } from "./running.js";

export interface CommandResult {
  /** Exit code; 1 also when a signal ended the command. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that takes longer than this has hung, ms. */
const TIMEOUT = 60_000;

/** The etcdctl under test: `BRAID_TEST_ETCDCTL`, else `etcdctl` on the PATH. */
const binary = process.env.BRAID_TEST_ETCDCTL || "etcdctl";

function spawnEtcdctl(endpoints: string, args: readonly string[]): ChildProcess {
  const env = { ...process.env, ETCDCTL_API: "3" };
  const child = spawn(binary, ["--endpoints", endpoints, ...args], { env, stdio: "pipe" });
  endWithParent(child);
  return child;
}

/** Runs `etcdctl --endpoints <endpoints> <args>` and resolves however it ends. */
export function etcdctl(endpoints: string, ...args: string[]): Promise<CommandResult> {
  return etcdctlWithInput(endpoints, "", ...args);
}

/** The same with text on its standard input, which `txn` reads. */
export function etcdctlWithInput(
  endpoints: string,
  input: string,
  ...args: string[]
): Promise<CommandResult> {
  const child = spawnEtcdctl(endpoints, args);
  let [stdout, stderr] = ["", ""];
  child.stdout!.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  child.stdin!.on("error", () => {}); // it may end without reading all of it
  child.stdin!.end(input);
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? 1, stdout, stderr });
    });
  });
}

/** Starts a command that goes on: `watch`, `lock`, `elect`, `lease keep-alive`. */
export function startEtcdctl(endpoints: string, ...args: string[]): Running {
  return new Running(spawnEtcdctl(endpoints, args));
}
