// Bundles the console's page from src/console/page into dist/src/console/page: one script, one style sheet and the HTML. The build
// runs it.
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { root } from "./setup.js";

const source = join(root, "src/console/page");
const target = join(root, "dist/src/console/page");

/** The licenses of the bundled packages. They have to go with their code. */
function license(name) {
  const folder = join(root, "node_modules", name);
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return `/*\n${name} ${version}\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n*/`;
}

mkdirSync(target, { recursive: true });
buildSync({
  entryPoints: [join(source, "page.tsx"), join(source, "page.css")],
  outdir: target,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  banner: { js: license("preact") },
  logLevel: "warning",
});
copyFileSync(join(source, "page.html"), join(target, "page.html"));
