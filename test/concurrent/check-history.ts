import { readFileSync } from "node:fs";
import { check } from "./check.js";

/* Checks again the history that a failed run has kept: node --import tsx test/concurrent/check-history.ts FILE */

const { history, options } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const faults = check(history);
console.log(JSON.stringify(options));
console.log(faults.join("\n") || "no faults");
process.exitCode = faults.length > 0 ? 1 : 0;
