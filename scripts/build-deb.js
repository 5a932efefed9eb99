// npm run build:deb builds dist/etcd-braid_<version>_<architecture>.deb: the single executable with a systemd unit, a user and a
// configuration.
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { capture, fail, listFiles, root, run } from "./setup.js";

const architecture = capture("dpkg", ["--print-architecture"])?.trim();
if (architecture === undefined) fail("Building a Debian package needs dpkg, which is not installed.");
run(process.execPath, [join(root, "scripts/build-binary.js")]);

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
// 1.0.0-rc.1 comes before 1.0.0. Debian expresses that with a tilde.
const debianVersion = version.replace("-", "~");
const stage = join(root, "dist/deb");
const source = join(root, "packaging/deb");
const documents = "usr/share/doc/etcd-braid";

/** The installed files and their sources. */
const contents = {
  "usr/bin/braid": "dist/braid",
  "usr/lib/systemd/system/etcd-braid.service": "packaging/deb/etcd-braid.service",
  "etc/etcd-braid/shards.yaml": "shards.yaml",
  [`${documents}/copyright`]: "packaging/deb/copyright",
  [`${documents}/notices.txt`]: "dist/braid-notices.txt",
  [`${documents}/README.md`]: "README.md",
  [`${documents}/CHANGELOG.md`]: "CHANGELOG.md",
  ...Object.fromEntries(listFiles("docs").map((path) => [`${documents}/${path}`, path])),
};

function write(path, content, mode = 0o644) {
  const target = join(stage, path);
  mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
  writeFileSync(target, content);
  chmodSync(target, mode);
}

rmSync(stage, { recursive: true, force: true });
for (const name of readdirSync(join(root, "dist")))
  if (name.endsWith(".deb")) rmSync(join(root, "dist", name));
for (const [target, from] of Object.entries(contents)) {
  mkdirSync(dirname(join(stage, target)), { recursive: true, mode: 0o755 });
  cpSync(join(root, from), join(stage, target));
  chmodSync(join(stage, target), target.startsWith("usr/bin/") ? 0o755 : 0o644);
}
const installed = Object.keys(contents);
const size = installed.reduce((sum, path) => sum + statSync(join(stage, path)).size, 0);
const control = readFileSync(join(source, "control"), "utf8")
  .replace("@VERSION@", debianVersion)
  .replace("@ARCHITECTURE@", architecture)
  .replace("@SIZE@", String(Math.ceil(size / 1024)));
const sums = installed
  .filter((path) => !path.startsWith("etc/"))
  .map(
    (path) =>
      `${createHash("md5")
        .update(readFileSync(join(stage, path)))
        .digest("hex")}  ${path}\n`,
  );
write("DEBIAN/control", control);
write("DEBIAN/conffiles", "/etc/etcd-braid/shards.yaml\n");
write("DEBIAN/md5sums", sums.join(""));
for (const script of ["postinst", "prerm", "postrm"])
  write(`DEBIAN/${script}`, readFileSync(join(source, script)), 0o755);

run("dpkg-deb", [
  "--root-owner-group",
  "-Zxz",
  "-z1",
  "--build",
  stage,
  join(root, `dist/etcd-braid_${debianVersion}_${architecture}.deb`),
]);
rmSync(stage, { recursive: true });
