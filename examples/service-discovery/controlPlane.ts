// The control plane: writes the configuration with compare-and-swap, so that no two editors overwrite each other, and
// registers instances with leases, so that they go when their process does. Talks gRPC, through the npm client etcd3.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Etcd3, type IOptions, type Lease } from "etcd3";

/** Seconds for which an instance stays registered without a sign of life. */
const INSTANCE_TTL = 10;
/** Pause before a change is tried again, ms. */
const PAUSE = 200;

export class ControlPlane {
  private readonly etcd: Etcd3;
  private lease: Lease | undefined;

  constructor(options: IOptions) {
    this.etcd = new Etcd3(options);
  }

  /**
   * Sets `key` to what `edit` makes of its value (undefined: there is none, or it shall be gone), however many others
   * do the same, and whatever is down meanwhile. `edit` may run several times.
   */
  async change(key: string, edit: (value: string | undefined) => string | undefined): Promise<void> {
    for (;;) {
      try {
        if (await this.tryChange(key, edit)) return;
      } catch (error) {
        // Whether it took effect may be unknown; a change that is made anew from what is there now does no harm.
        process.stderr.write(`${(error as Error).message}; trying again\n`);
        await sleep(PAUSE);
      }
    }
  }

  /** Registers an instance for as long as this process lives. */
  async register(key: string, value: string): Promise<void> {
    this.lease ??= this.etcd.lease(INSTANCE_TTL, { autoKeepAlive: true });
    await this.lease.put(key).value(value).exec();
  }

  /** Takes all instances of this process back. */
  async unregister(): Promise<void> {
    await this.lease?.revoke();
    this.lease = undefined;
  }

  close(): void {
    this.etcd.close();
  }

  private async tryChange(
    key: string,
    edit: (value: string | undefined) => string | undefined,
  ): Promise<boolean> {
    const { kvs } = await this.etcd.get(key).exec();
    const [old] = kvs;
    const value = edit(old?.value.toString());
    if (value === undefined && old === undefined) return true;
    const unchanged = this.etcd.if(key, "Mod", "==", old?.mod_revision ?? 0);
    const { succeeded } = await (value === undefined
      ? unchanged.then(this.etcd.delete().key(key))
      : unchanged.then(this.etcd.put(key).value(value))
    ).commit();
    return succeeded;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { ENDPOINTS = "127.0.0.1:2379", ETCD_USER, ETCD_PASSWORD = "" } = process.env;
  const plane = new ControlPlane({
    hosts: ENDPOINTS.split(",").map((endpoint) => `http://${endpoint}`),
    ...(ETCD_USER !== undefined && { auth: { username: ETCD_USER, password: ETCD_PASSWORD } }),
  });
  const [key, value] = process.argv.slice(2);
  if (key === undefined) {
    process.stderr.write("usage: controlPlane.ts KEY [VALUE]   (without VALUE: deletes the key)\n");
    process.exitCode = 2;
  } else await plane.change(key, () => value);
  plane.close();
}
