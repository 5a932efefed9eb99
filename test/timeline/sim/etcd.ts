import type { HostChange, HostKey } from "../../../src/timeline/host.js";

interface Version {
  readonly revision: number;
  /** Undefined for a deletion. */
  readonly value: Uint8Array | undefined;
  readonly createRevision: number;
}

export interface SimPut {
  readonly key: string;
  readonly value: Uint8Array;
}

/** An etcd in memory with revisions, history, compaction and watches. Every call takes effect immediately. */
export class SimEtcd {
  revision = 1;
  compacted = 0;
  private readonly versions = new Map<string, Version[]>();
  private readonly history: HostChange[] = [];
  private readonly listeners = new Set<(change: HostChange) => void>();

  put(puts: readonly SimPut[], deletes: readonly string[] = []): number {
    const removed = deletes.filter((key) => this.get(key) !== undefined);
    if (puts.length + removed.length === 0) return this.revision;
    this.revision++;
    for (const { key, value } of puts) {
      const last = this.get(key);
      const list = this.versions.get(key) ?? [];
      list.push({ revision: this.revision, value, createRevision: last?.createRevision ?? this.revision });
      this.versions.set(key, list);
    }
    for (const key of removed) {
      this.versions.get(key)?.push({ revision: this.revision, value: undefined, createRevision: 0 });
    }
    const change = { revision: this.revision, puts, deletes: removed };
    this.history.push(change);
    for (const listener of this.listeners) listener(change);
    return this.revision;
  }

  get(key: string, at = this.revision): HostKey | undefined {
    const version = this.versions.get(key)?.findLast(({ revision }) => revision <= at);
    if (version?.value === undefined) return undefined;
    return {
      key,
      value: version.value,
      createRevision: version.createRevision,
      modRevision: version.revision,
    };
  }

  list(prefix: string, at = this.revision): HostKey[] {
    return [...this.versions.keys()]
      .filter((key) => key.startsWith(prefix))
      .sort()
      .flatMap((key) => this.get(key, at) ?? []);
  }

  compact(revision: number): void {
    this.compacted = Math.max(this.compacted, revision);
  }

  changesFrom(revision: number): HostChange[] {
    return this.history.filter((change) => change.revision >= revision);
  }

  listen(listener: (change: HostChange) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
