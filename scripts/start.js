// npm start runs a store of three local etcds and a proxy. It needs only Node.js and npm.
// Arguments are for `braid dev`: npm start -- --port 12379
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, checkNode, installEtcd, installPackages, root } from "./setup.js";

checkNode();
installPackages();
installEtcd();
build();

// A killed npm would leave this process and its children behind. Because of `exec` in package.json, the parent is npm itself
// and not a shell.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, "SIGTERM");
}, 1000).unref();

const main = join(root, "dist/src/cli/main.js");
process.argv = [process.execPath, main, "dev", ...process.argv.slice(2)];
await import(pathToFileURL(main).href);
