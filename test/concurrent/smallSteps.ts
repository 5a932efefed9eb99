import { DEFAULT_OPTIONS } from "../../src/mover/options.js";

/*
 * Loaded into proxies of a run with plans, before their own code. Such a run has few keys, so that it can be checked: with the
 * mover's usual limits, all of them would move in one step and one page.
 */

Object.assign(DEFAULT_OPTIONS, { stepKeys: 5, pageKeys: 3, maxTxnOps: 6, concurrency: 4 });
