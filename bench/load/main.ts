/*
 * The load generator: a separate process, so that its cost does not count for others. It runs the tasks from its parent, one
 * after another, and ends with its parent.
 */
import { runFanout } from "./fanout.js";
import { runHttp } from "./http.js";
import type { Task, TaskReply, TaskResult } from "./task.js";
import { runUnary } from "./unary.js";

const run = (task: Task): Promise<TaskResult> => {
  switch (task.kind) {
    case "unary":
      return runUnary(task);
    case "http":
      return runHttp(task);
    case "fanout":
      return runFanout(task);
  }
};

process.on("disconnect", () => process.exit(0));
process.on("message", async (task: Task) => {
  let reply: TaskReply;
  try {
    reply = { result: await run(task) };
  } catch (error) {
    reply = { error: (error as Error).message };
  }
  process.send?.(reply);
});
