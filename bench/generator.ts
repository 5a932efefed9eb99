import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../src/dev/guard.js";
import type { Task, TaskReply, TaskResult } from "./load/task.js";

// Compiled or from the sources, as this process is.
const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
const program = fileURLToPath(new URL(`./load/main.${extension}`, import.meta.url));

/** The load generator's process. */
export class Generator {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(program, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    endWithParent(this.child);
  }

  /** Runs a task, one at a time. Rejects if a failure of the target makes the results useless. */
  run(task: Task): Promise<TaskResult> {
    const { child } = this;
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error("the load generator has ended"));
      child.once("exit", ended);
      child.once("message", (reply: TaskReply) => {
        child.off("exit", ended);
        if ("result" in reply) resolve(reply.result);
        else reject(new Error(reply.error));
      });
      child.send(task);
    });
  }

  stop(): void {
    this.child.kill();
  }
}
