import assert from "node:assert/strict";
import { test } from "node:test";
import { since36 } from "../../src/services/maintenance/since36.js";
import { StatusResponse } from "../../src/wire/messages.js";

const GIB = 2 ** 30;
const off = { enabled: false, targetVersion: "" };

/** The decoded status of a shard. */
const shard = (said: Parameters<typeof StatusResponse.encode>[0]) =>
  StatusResponse.decode(StatusResponse.encode(said));
const newer = (storageVersion: string, dbSizeQuota: number, downgradeInfo = off) =>
  shard({ version: "3.6.16", storageVersion, dbSizeQuota, downgradeInfo });
const older = shard({ version: "3.5.30", dbSize: 20_480 });

test("fields since etcd 3.6 are merged: lowest storage version, sum of quotas", () => {
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

test("the storage version and quota are unknown when one shard's are", () => {
  assert.equal(since36([newer("3.6.0", GIB), newer("", GIB)]).storageVersion, "");
  assert.equal(since36([newer("3.6.0", GIB), newer("3.6.0", -5)]).dbSizeQuota, -1);
});

test("a downgrade is enabled if it is on any shard", () => {
  const to35 = { enabled: true, targetVersion: "3.5.0" };
  const to36 = { enabled: true, targetVersion: "3.6.0" };
  const of = (...infos: (typeof off)[]) =>
    since36(infos.map((info) => newer("3.6.0", GIB, info))).downgradeInfo;
  assert.deepEqual(of(off, to36, off), to36);
  assert.deepEqual(of(to36, off, to35), to35);
});

test("with one shard of an older etcd, the fields are absent", () => {
  assert.deepEqual(since36([older]), {});
  assert.deepEqual(since36([newer("3.6.0", GIB), older, newer("3.7.0", GIB)]), {});
});
