// Sets up a fresh clone on a fresh machine. Plain JavaScript without dependencies, because it installs them.
import { spawnSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, rmdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const MINIMUM_NODE = 20;

/** Prints progress. On stderr, because stdout belongs to the tests. */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Ends the script with an error message. */
export function fail(text) {
  say(`\n${text}`);
  process.exit(1);
}

/** Runs a command in the repository with the terminal attached. Ends the script if the command fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit", ...options });
  if (result.error) fail(`Cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/** Runs a command. Returns its standard output, or undefined if it failed or does not exist. */
export function capture(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8" });
  return result.status === 0 ? result.stdout : undefined;
}

export function checkNode() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < MINIMUM_NODE)
    fail(`etcd-braid needs Node.js ${MINIMUM_NODE} or newer; this is ${process.version}.`);
}

/** True if every package of the lock file is installed in its locked version. */
function isInstalled() {
  const read = (path) => JSON.parse(readFileSync(join(root, path), "utf8")).packages;
  try {
    const wanted = read("package-lock.json");
    const present = read("node_modules/.package-lock.json"); // npm's own record of what it installed
    return Object.entries(wanted).every(
      // Optional packages are builds for other platforms, which npm leaves out.
      ([path, entry]) => path === "" || entry.optional || present[path]?.version === entry.version,
    );
  } catch {
    return false; // nothing installed yet
  }
}

/** Installs the npm packages if they are missing or do not match the lock file. */
export function installPackages() {
  if (isInstalled()) return;
  say("Installing npm packages …");
  run("npm", ["ci", "--no-audit", "--no-fund"], { stdio: ["ignore", process.stderr, "inherit"] });
}

const has = (command, args) => capture(command, args) !== undefined;

/** The prefix to run a command as root without a password; undefined if that is not possible. */
function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  return has("sudo", ["-n", "true"]) ? ["sudo", "-n"] : undefined;
}

/** Installs packages of Debian. Returns false if that has failed. */
function aptInstall(prefix, packages) {
  const options = {
    cwd: root,
    stdio: ["ignore", process.stderr, "inherit"],
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  };
  const apt = (...args) => {
    const [command, ...rest] = [...prefix, "apt-get", "-q", ...args];
    return spawnSync(command, rest, options).status === 0;
  };
  return apt("update") && apt("install", "-y", "--no-install-recommends", ...packages);
}

/** Installs Debian's Chromium if there is none, for the tests in a browser. They are skipped where that is not possible. */
export function installChromium() {
  if (process.env.BRAID_TEST_CHROMIUM || has("chromium", ["--version"])) return;
  const prefix = rootPrefix();
  if (has("apt-get", ["--version"]) && prefix) {
    say("Not on the PATH: chromium. Installing Debian's …");
    if (aptInstall(prefix, ["chromium"])) return;
  }
  say("SKIPPED: the tests in a browser, because there is no chromium, and it cannot be installed here.");
  say("With another Chromium or Chrome, set BRAID_TEST_CHROMIUM to its command.");
}

/** Installs Debian's etcd and etcdctl if etcd is missing. If that is not possible, prints the alternatives. */
export function installEtcd() {
  const wanted = [];
  if (!has("etcd", ["--version"])) wanted.push("etcd-server");
  if (!has("etcdctl", ["version"])) wanted.push("etcd-client");
  if (wanted.length === 0) return;
  const missing = wanted.map((name) => (name === "etcd-server" ? "etcd" : "etcdctl")).join(" and ");
  const prefix = rootPrefix();
  if (!has("apt-get", ["--version"]) || !prefix) {
    fail(
      [
        `Not on the PATH: ${missing}. This script cannot install it (${prefix ? "no apt-get here" : "not root, and sudo wants a password"}).`,
        "Options:",
        "  Debian, Ubuntu:  sudo apt-get install etcd-server etcd-client",
        "  macOS:           brew install etcd",
        "  anywhere:        unpack a release of etcd 3.4 or newer and put etcd and etcdctl on the PATH",
        "Then run this again.",
      ].join("\n"),
    );
  }
  say(`Not on the PATH: ${missing}. Installing Debian's ${wanted.join(" and ")} …`);
  if (!aptInstall(prefix, wanted)) fail(`apt-get could not install ${wanted.join(" and ")}.`);
  if (has("systemctl", ["is-active", "--quiet", "etcd"])) {
    say("Debian's package has started an etcd on port 2379, which etcd-braid does not use.");
    say(`To free the port: ${[...prefix, "systemctl disable --now etcd"].join(" ")}`);
  }
}

/** Compiles src, test, bench and examples into dist, bundles the console's page, and removes outputs without a source. */
export function build() {
  run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.json"], {
    stdio: ["ignore", process.stderr, "inherit"],
  });
  run(process.execPath, [join(root, "scripts/bundle-page.js")]);
  const folders = ["src", "test", "bench", "examples"];
  const sources = new Set(listFiles(...folders).map((path) => path.replace(/\.tsx?$/, "")));
  for (const path of listFiles(...folders.map((folder) => `dist/${folder}`))) {
    const source = path.slice("dist/".length).replace(/(\.js(\.map)?|\.d\.ts)$/, "");
    if (!sources.has(source)) rmSync(join(root, path));
  }
  removeEmptyFolders(join(root, "dist"));
  linkCommand();
}

/** Makes `npx braid` work in the clone, because npm links only the commands of dependencies. */
function linkCommand() {
  const main = join(root, "dist/src/cli/main.js");
  const link = join(root, "node_modules/.bin/braid");
  chmodSync(main, 0o755);
  rmSync(link, { force: true });
  symlinkSync(main, link);
}

/** All files under the given folders of the repository, as sorted relative paths. */
export function listFiles(...folders) {
  const files = [];
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) files.push(...listFiles(path));
      else files.push(path);
    }
  }
  return files.sort();
}

function removeEmptyFolders(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyFolders(join(folder, entry.name));
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}
