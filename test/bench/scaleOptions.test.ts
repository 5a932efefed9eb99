import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseScaleOptions } from "../../bench/scale/options.js";
import { findCgroups, NoQuotaError, Quotas } from "../../bench/scale/quota.js";
import { temporaryFolder } from "../support/braid.js";

test("without options, everything is measured in full", () => {
  const options = parseScaleOptions(["--scale"]);
  assert.deepEqual(options?.shards, [1, 2, 4, 8, 16]);
  assert.deepEqual(options?.writers, [256, 1024]);
  assert.deepEqual(options?.valueBytes, [256, 4096]);
  assert.equal(options?.complete, true);
  assert.equal(parseScaleOptions(["--scale", "--dir", "/somewhere"])?.complete, true);
});

test("options select a part, in ascending order and without repetitions", () => {
  const options = parseScaleOptions(["--scale", "--shards", "4,1,4", "--writers", "32", "--share", "10"]);
  assert.deepEqual(options?.shards, [1, 4]);
  assert.deepEqual(options?.writers, [32]);
  assert.equal(options?.share, 10);
  assert.equal(options?.complete, false);
  assert.equal(parseScaleOptions(["--scale", "--help"]), undefined);
});

test("wrong options are refused with the range of right ones", () => {
  const wrong =
    (...args: string[]) =>
    () =>
      parseScaleOptions(["--scale", ...args]);
  assert.throws(wrong("--shards", "1,0"), /^Error: --shards: "0" is not a number from 1 to 64$/);
  assert.throws(wrong("--share", "101"), /--share: "101" is not a number from 1 to 100/);
  assert.throws(wrong("--values", "x"), /--values: "x" is not a number/);
  assert.throws(wrong("--sharts", "1"), /--sharts/);
});

const V1 = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n";

test("the cgroups that limit CPU time are found in both versions", () => {
  const cpu = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n";
  const v2 = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
  assert.deepEqual(findCgroups(V1 + v2 + cpu), { version: 1, root: "/sys/fs/cgroup/cpu,cpuacct" });
  assert.deepEqual(findCgroups(V1 + v2), { version: 2, root: "/sys/fs/cgroup/unified" });
  assert.throws(() => findCgroups(V1), NoQuotaError);
});

test("each process gets a group with its share, in the files of version 2", () => {
  // A folder like any other: the kernel would make the files.
  const root = temporaryFolder();
  new Quotas({ version: 2, root }).limit([17], 0.08);
  const group = join(root, `etcd-braid-bench-${process.pid}`, "17");
  assert.equal(readFileSync(join(group, "cpu.max"), "utf8"), "8000 100000");
  assert.equal(readFileSync(join(group, "cgroup.procs"), "utf8"), "17");
  assert.equal(readFileSync(join(root, "cgroup.subtree_control"), "utf8"), "+cpu");
});

test("a machine that does not allow groups is reported as such", () => {
  const root = join(temporaryFolder(), "file");
  writeFileSync(root, "");
  assert.throws(() => new Quotas({ version: 1, root }), {
    name: "Error",
    message: /^the etcds cannot be held to a share of a core, because cgroups cannot be used: /,
  });
});
