import assert from "node:assert/strict";
import { test } from "node:test";
import { since36 } from "../../src/services/maintenance/newer.js";
import { StatusResponse } from "../../src/wire/messages.js";

const GIB = 2 ** 30;
const off = { enabled: false, targetVersion: "" };

/** What a shard says, as it is decoded. */
const shard = (said: Parameters<typeof StatusResponse.encode>[0]) =>
  StatusResponse.decode(StatusResponse.encode(said));
const newer = (storageVersion: string, dbSizeQuota: number, downgradeInfo = off) =>
  shard({ version: "3.6.16", storageVersion, dbSizeQuota, downgradeInfo });
const older = shard({ version: "3.5.30", dbSize: 20_480 });

test("what shards tell since etcd 3.6 is one store's: the lowest format, quotas summed", () => {
  assert.deepEqual(since36([newer("3.6.0", 2 * GIB)]), {
    storageVersion: "3.6.0",
    dbSizeQuota: 2 * GIB,
    downgradeInfo: off,
  });
  assert.deepEqual(since36([newer("3.10.0", 8 * GIB), newer("3.6.0", 2 * GIB), newer("3.7.0", GIB)]), {
    storageVersion: "3.6.0",
    dbSizeQuota: 11 * GIB,
    downgradeInfo: off,
  });
});

test("a format that one shard does not know is not known, and a shard without a quota leaves the store without one", () => {
  assert.equal(since36([newer("3.6.0", GIB), newer("", GIB)]).storageVersion, "");
  assert.equal(since36([newer("3.6.0", GIB), newer("3.6.0", -5)]).dbSizeQuota, -1);
});

test("a downgrade is enabled as soon as it is on one shard", () => {
  const to35 = { enabled: true, targetVersion: "3.5.0" };
  const to36 = { enabled: true, targetVersion: "3.6.0" };
  const of = (...infos: (typeof off)[]) =>
    since36(infos.map((info) => newer("3.6.0", GIB, info))).downgradeInfo;
  assert.deepEqual(of(off, to36, off), to36);
  assert.deepEqual(of(to36, off, to35), to35);
});

test("while one shard is of an older etcd, the store tells what that tells", () => {
  assert.deepEqual(since36([older]), {});
  assert.deepEqual(since36([newer("3.6.0", GIB), older, newer("3.7.0", GIB)]), {});
});
