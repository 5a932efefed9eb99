// npm run generate writes all generated files of this repository, with every scripts/generate-*.js. They are committed, and tests
// fail if they are stale.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { checkNode, installPackages, root, run } from "./setup.js";

checkNode();
installPackages();
const scripts = readdirSync(join(root, "scripts")).filter((name) => /^generate-.+\.js$/.test(name));
for (const script of scripts.sort()) run(process.execPath, ["--import", "tsx", join("scripts", script)]);
