import { execFile } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { AwsV4Signer } from "aws4fetch";
import { Daemon } from "../daemon.ts";
import { freePort } from "../free-port.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { cephProgram } from "./radosgw.ts";

const run = promisify(execFile);
const readyWithinMs = 120_000;
const environment = { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", LC_ALL: "C" };

/** A private Ceph with its S3 server on loopback: all state below one directory, objects in memory. */
export class RadosGateway implements AsyncDisposable {
  readonly endpoint: string;
  /** Made at the start. */
  readonly bucket = "siteagent-test";
  readonly accessKey = "SITEAGENTTEST";
  readonly secretKey: string = randomBytes(20).toString("hex");
  readonly #directory: TemporaryDirectory;
  readonly #daemons: Daemon[] = [];

  static async start(): Promise<RadosGateway> {
    const directory = await temporaryDirectory("sa-rgw-");
    const [first, second, port] = [await freePort(), await freePort(), await freePort()];
    const gateway = new RadosGateway(directory, port);
    try {
      await gateway.#startStore(first, second);
      await gateway.#startGateway(port);
      return gateway;
    } catch (error) {
      await gateway[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(directory: TemporaryDirectory, port: number) {
    this.#directory = directory;
    this.endpoint = `http://127.0.0.1:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons.toReversed()) await daemon.stop("SIGKILL");
    await this.#directory[Symbol.asyncDispose]();
  }

  async #startStore(first: number, second: number): Promise<void> {
    const path = (name: string): string => this.#directory.join(name);
    const id = randomUUID();
    const osd = randomUUID();
    for (const name of ["mon", "osd", "rgw", "run"]) await mkdir(path(name));
    await writeFile(
      path("ceph.conf"),
      configuration(this.#directory.path, id, `v2:127.0.0.1:${first},v1:127.0.0.1:${second}`),
    );
    await this.#keys();
    await this.#run(
      "monmaptool",
      "--create",
      "--fsid",
      id,
      "--addv",
      "a",
      `[v2:127.0.0.1:${first},v1:127.0.0.1:${second}]`,
      path("monmap"),
    );
    await this.#run("ceph-mon", "--mkfs", "-i", "a", "--monmap", path("monmap"), "--keyring", path("keyring"));
    await this.#daemon("ceph-mon", "-f", "-i", "a");
    await this.#run("ceph", "osd", "new", osd);
    await this.#run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd);
    await this.#daemon("ceph-osd", "-f", "-i", "0");
  }

  /** Each with all rights: the cluster is the test's own. */
  async #keys(): Promise<void> {
    const all = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"];
    for (const name of ["mon.", "client.admin", "osd.0", "client.rgw.a"]) {
      const create = name === "mon." ? ["-C"] : [];
      await this.#run("ceph-authtool", ...create, this.#directory.join("keyring"), "-g", "-n", name, ...all);
    }
  }

  async #startGateway(port: number): Promise<void> {
    const gateway = await this.#daemon(
      "radosgw",
      ...["-f", "-n", "client.rgw.a", `--rgw_frontends=beast endpoint=127.0.0.1:${port}`],
    );
    const answers = (): Promise<boolean> =>
      fetch(this.endpoint).then(
        ({ ok }) => ok,
        () => false,
      );
    await gateway.until(answers, "an S3 server that answers", readyWithinMs);
    const keys = ["--access-key", this.accessKey, "--secret-key", this.secretKey];
    await this.#run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", ...keys);
    await this.#makeBucket();
  }

  async #makeBucket(): Promise<void> {
    const { accessKey: accessKeyId, secretKey: secretAccessKey } = this;
    const options = { accessKeyId, secretAccessKey, service: "s3", region: "us-east-1" };
    const { url, headers } = await new AwsV4Signer({
      method: "PUT",
      url: `${this.endpoint}/${this.bucket}`,
      ...options,
    }).sign();
    const answer = await fetch(url, { method: "PUT", headers });
    if (!answer.ok) throw new Error(`no bucket: ${answer.status} ${await answer.text()}`);
  }

  async #run(program: string, ...args: readonly string[]): Promise<void> {
    await run(cephProgram(program), args, {
      env: this.#environment(),
      cwd: this.#directory.path,
      timeout: readyWithinMs,
    });
  }

  async #daemon(program: string, ...args: readonly string[]): Promise<Daemon> {
    const daemon = await Daemon.start({
      argv: [cephProgram(program), ...args],
      environment: this.#environment(),
      cwd: this.#directory.path,
      log: this.#directory.join(`${program}.out`),
    });
    this.#daemons.push(daemon);
    return daemon;
  }

  #environment(): Readonly<Record<string, string>> {
    return { ...environment, CEPH_CONF: this.#directory.join("ceph.conf"), HOME: this.#directory.path };
  }
}

/** Without authentication radosgw never gets a connection; without the short intervals each of its pools costs a second. */
function configuration(directory: string, id: string, address: string): string {
  return `[global]
fsid = ${id}
mon_host = [${address}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = ${directory}/keyring
run_dir = ${directory}/run
admin_socket = ${directory}/run/$name.$pid.asok
pid_file = ${directory}/run/$name.pid
log_file = ${directory}/$name.log
crash_dir = ${directory}/run
mon_data = ${directory}/mon
osd_data = ${directory}/osd
rgw_data = ${directory}/rgw
osd_objectstore = memstore
memstore_device_bytes = 2147483648
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
osd_max_object_name_len = 2048
osd_heartbeat_grace = 600
rgw_thread_pool_size = 32
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
rgw_run_sync_thread = false
rgw_dynamic_resharding = false
`;
}
