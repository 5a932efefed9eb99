/*
 * The load generator: a process of its own, so that its cost is not the proxy's or the reporter's. Does one task after another,
 * as its parent sends them; ends with its parent.
 */
import { runFanout } from "./fanout.js";
import type { Task, TaskReply } from "./task.js";
import { runUnary } from "./unary.js";

process.on("disconnect", () => process.exit(0));
process.on("message", async (task: Task) => {
  let reply: TaskReply;
  try {
    reply = { result: task.kind === "unary" ? await runUnary(task) : await runFanout(task) };
  } catch (error) {
    reply = { error: (error as Error).message };
  }
  process.send?.(reply);
});
