// npm run build:binary builds dist/braid, an executable that needs neither Node.js nor npm packages: a copy of the Node.js that
// runs this script, with the program inside (a "single executable application").
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { build, capture, checkNode, fail, installPackages, root, run, say } from "./setup.js";

const BLOB = "NODE_SEA_BLOB";
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

if (process.platform !== "linux") fail("The single executable is built on Linux only.");
checkNode();
installPackages();
say("Compiling …");
build();

const { build: bundle } = await import("esbuild");
const { inject } = await import("postject");
const work = join(root, "dist/binary");
const binary = join(root, "dist/braid");

/**
 * The arguments of a single executable are [executable, its name as called, …]. Code that starts this program again (cluster,
 * `braid dev`) passes the script's path first, which is the executable here. It is removed, as Node.js does with a script.
 */
const PRELUDE = `process.argv[1] = process.execPath;
if (process.argv[2] === process.execPath) process.argv.splice(2, 1);`;

/** Replaces src/ops/package.ts: the executable contains the version. */
function carriedVersion() {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return `export const version = ${JSON.stringify(version)};`;
}

/** Replaces src/console/assetFiles.ts: the executable contains the console's page. */
function carriedPage() {
  const folder = join(root, "dist/src/console/page");
  const files = Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("base64")]),
  );
  return `const files = ${JSON.stringify(files)};
export const readAsset = (name) => Buffer.from(files[name], "base64");`;
}

/** The licenses of all packages with bundled files. */
function notices(files) {
  const folders = new Set(
    files.map((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]).filter(Boolean),
  );
  const parts = [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    const texts = readdirSync(join(root, folder)).filter((file) =>
      /^(licen[cs]e|copying|notice)/i.test(file),
    );
    const text = texts.map((file) => readFileSync(join(root, folder, file), "utf8").trim()).join("\n\n");
    return `${name} ${version} (${license})\n\n${text}`;
  });
  const line = `\n\n${"-".repeat(72)}\n\n`;
  return [
    `braid contains Node.js ${process.version}, whose LICENSE file lists its own parts, and these packages:`,
    ...parts,
  ].join(line);
}

const plugin = {
  name: "braid",
  setup({ onLoad }) {
    onLoad({ filter: /dist\/src\/ops\/package\.js$/ }, () => ({ contents: carriedVersion() }));
    onLoad({ filter: /dist\/src\/console\/assetFiles\.js$/ }, () => ({ contents: carriedPage() }));
    // grpc-js is loaded late and synchronously; the bundler only knows `require`.
    onLoad({ filter: /dist\/src\/shard\/grpcLink\.js$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replace("createRequire(import.meta.url)(", "require("),
    }));
  },
};

say("Bundling …");
rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });
const main = join(work, "main.cjs");
const result = await bundle({
  entryPoints: [join(root, "dist/src/cli/main.js")],
  outfile: main,
  bundle: true,
  platform: "node",
  target: `node${process.versions.node}`,
  format: "cjs",
  banner: { js: PRELUDE },
  legalComments: "none", // all of them are in the notices
  plugins: [plugin],
  metafile: true,
  // Code that reads a file beside the program cannot work.
  logOverride: { "empty-import-meta": "error" },
});
if (result.warnings.length > 0) fail("The bundle has warnings.");
writeFileSync(
  `${binary}-notices.txt`,
  notices([...Object.keys(result.metafile.inputs), "node_modules/preact/page"]),
);

say("Writing dist/braid …");
writeFileSync(
  join(work, "sea.json"),
  JSON.stringify({ main, output: join(work, "blob"), disableExperimentalSEAWarning: true }),
);
run(process.execPath, ["--experimental-sea-config", join(work, "sea.json")], {
  stdio: ["ignore", "ignore", "inherit"],
});
rmSync(binary, { force: true });
copyFileSync(process.execPath, binary);
await inject(binary, BLOB, readFileSync(join(work, "blob")), { sentinelFuse: FUSE });
chmodSync(binary, 0o755);
rmSync(work, { recursive: true });
say(`dist/braid ${capture(binary, ["--version"])?.trim() ?? fail("dist/braid does not run.")}`);
