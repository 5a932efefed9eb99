// npm run test:etcd35 runs the tests that need a backend with the newest etcd 3.5 of Debian.
// The package is unpacked into .cache/etcd-3.5 and not installed, so the machine keeps its own etcd.
// Arguments select test files, as with npm test; --fetch only downloads.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { testOn } from "./backend.js";
import { capture, fail, root, run, say } from "./setup.js";

const SERIES = "3.5.";
/** Debian suites to search. They are newer than the machine's, so they are read with a separate apt configuration. */
const SUITES = ["trixie", "sid"];
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const cache = join(root, ".cache/etcd-3.5");
const binary = join(cache, "root/usr/bin/etcd");

/** This machine's Debian mirror. */
function mirror() {
  const targets = capture("apt-get", [
    "indextargets",
    "--format",
    "$(REPO_URI)|$(CODENAME)|$(COMPONENT)|$(LABEL)",
    "Created-By: Packages",
  ]);
  const rows = (targets ?? "").split("\n").map((line) => line.split("|"));
  const main = rows.find(
    ([, codename, component, label]) =>
      component === "main" && label === "Debian" && !codename.includes("-updates"),
  );
  if (!main)
    fail("No Debian mirror is configured in apt here. Run apt-get update first, or set BRAID_TEST_ETCD.");
  return main[0];
}

function fetchEtcd() {
  rmSync(cache, { recursive: true, force: true });
  for (const folder of ["lists/partial", "archives/partial", "root"])
    mkdirSync(join(cache, folder), { recursive: true });
  const signed = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : "";
  const uri = mirror();
  writeFileSync(
    join(cache, "sources.list"),
    SUITES.map((suite) => `deb ${signed}${uri} ${suite} main\n`).join(""),
  );
  const settings = {
    "Dir::Etc::sourcelist": join(cache, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::State::lists": join(cache, "lists"),
    "Dir::Cache": cache,
    "Acquire::Languages": "none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
    "APT::Sandbox::User": "root",
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  run("apt-get", ["-q", ...options, "update"]);
  const versions = (capture("apt-cache", [...options, "madison", "etcd-server"]) ?? "")
    .split("\n")
    .map((line) => line.split("|")[1]?.trim() ?? "")
    .filter((version) => version.startsWith(SERIES));
  if (versions.length === 0) fail(`Debian has no etcd ${SERIES}x in ${SUITES.join(" or ")} any more.`);
  versions.sort((a, b) => (capture("dpkg", ["--compare-versions", a, "gt", b]) === undefined ? 1 : -1));
  say(`Fetching etcd-server ${versions[0]} …`);
  run("apt-get", ["-q", ...options, "download", `etcd-server=${versions[0]}`], { cwd: cache });
  const file = readdirSync(cache).find((name) => name.endsWith(".deb"));
  run("dpkg", ["-x", join(cache, file), join(cache, "root")]);
  rmSync(join(cache, "lists"), { recursive: true });
}

if (!existsSync(binary)) fetchEtcd();
testOn(binary);
