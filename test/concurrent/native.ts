import { EtcdClient, type Message } from "../differential/client.js";
import type { EtcdProcess } from "../support/etcd.js";
import { toFrame, toKv } from "./codec.js";
import type { Change, NativeChange, NativeKv } from "./history.js";

const PATIENCE = 60_000;
const ALL = { key: Buffer.of(0), range_end: Buffer.of(0) };

/** All changes of clients' keys that an etcd itself still knows of, one list per revision of its own, oldest first. */
export async function nativeChanges(etcd: EtcdProcess): Promise<NativeChange[][]> {
  const client = new EtcdClient(etcd.endpoint);
  try {
    const { response } = await client.call("Range", { ...ALL, count_only: true });
    const newest = Number((response!.header as Message).revision);
    // Nothing happens at revision 1.
    const events = await replay(client, 2, newest);
    const byRevision = new Map<number, NativeChange[]>();
    for (const { type, kv } of events) {
      if (kv.key.startsWith("\0")) continue;
      const changes = byRevision.get(kv.mod) ?? [];
      byRevision.set(kv.mod, changes);
      changes.push({ type, key: kv.key, value: kv.value, lease: kv.lease });
    }
    return [...byRevision.values()];
  } finally {
    client.close();
  }
}

/** Clients' keys on an etcd. */
export async function nativeState(etcd: EtcdProcess): Promise<NativeKv[]> {
  const client = new EtcdClient(etcd.endpoint);
  try {
    const { response } = await client.call("Range", { key: Buffer.of(1), range_end: Buffer.of(0) });
    const kvs = ((response!.kvs ?? []) as Message[]).map(toKv);
    return kvs.map(({ key, value, lease }) => ({ key, value, lease }));
  } finally {
    client.close();
  }
}

/** Events from `from` on, or from behind the compaction on; at the compaction itself deletions may be forgotten. */
async function replay(client: EtcdClient, from: number, newest: number): Promise<Change[]> {
  if (from > newest) return [];
  const stream = client.watch();
  const events: Change[] = [];
  try {
    const compacted = await new Promise<number>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`etcd's history ends before ${newest}`)), PATIENCE);
      const end = (settle: () => void) => {
        clearTimeout(late);
        settle();
      };
      stream.on("error", (error) => end(() => reject(error)));
      stream.on("data", (response: Message) => {
        const frame = toFrame(response, 0);
        if (frame.canceled) return end(() => resolve(frame.compactRevision));
        events.push(...frame.events);
        if ((events.at(-1)?.kv.mod ?? 0) >= newest) end(() => resolve(0));
      });
      stream.write({ create_request: { ...ALL, start_revision: from } });
    });
    if (compacted > 0) return replay(client, compacted + 1, newest);
  } finally {
    stream.removeAllListeners("error").on("error", () => undefined); // its own cancellation
    stream.cancel();
  }
  return events;
}
