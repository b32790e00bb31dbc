// A network of its own for a browser, of which a firewall lets through what a guest network would. Root only.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const run = (program, ...args) => execFileSync(program, args, { stdio: 'pipe' });

/** The kernel takes its time to forget a name. */
let made = 0;

export class GuestNetwork {
  /** This side's address, as the browser sees the box. */
  box = '10.213.7.1';

  static possible() {
    if (process.getuid() !== 0) return false;
    try {
      const network = new GuestNetwork();
      network.remove();
      return true;
    } catch {
      return false;
    }
  }

  constructor() {
    made += 1;
    const id = `${process.pid % 100_000}x${made}`;
    this.name = `rf-guest-${id}`;
    const [here, there] = [`rfa${id}`, `rfb${id}`];
    this.link = here;
    run('ip', 'netns', 'add', this.name);
    try {
      run('ip', 'link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', this.name);
      run('ip', 'addr', 'add', `${this.box}/24`, 'dev', here);
      run('ip', 'link', 'set', here, 'up');
      run('ip', '-n', this.name, 'addr', 'add', '10.213.7.2/24', 'dev', there);
      run('ip', '-n', this.name, 'link', 'set', there, 'up');
      run('ip', '-n', this.name, 'link', 'set', 'lo', 'up');
      this.nft('add table inet guest');
      this.nft('add chain inet guest out { type filter hook output priority 0; }');
      this.nft('add counter inet guest dropped');
    } catch (error) {
      this.remove();
      throw error;
    }
    this.home = mkdtempSync(join(tmpdir(), 'returnfeed-guest-'));
    this.browser = join(this.home, 'chromium');
    const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium';
    writeFileSync(this.browser, `#!/bin/sh\nexec ip netns exec ${this.name} ${chromium} "$@"\n`);
    chmodSync(this.browser, 0o755);
  }

  nft(rule) {
    run('ip', 'netns', 'exec', this.name, 'nft', rule);
  }

  /** Drops what leaves the browser's machine and matches, and counts it. */
  block(match) {
    this.nft(`add rule inet guest out oifname != "lo" ${match} counter name dropped drop`);
  }

  /**
   * Puts a router between, which is reached at `address` and forwards what comes there to the box; the box's own address
   * is not reached any more.
   */
  behindRouter(address) {
    this.table = `rfrouter${this.link.slice(3)}`;
    const here = (rule) => run('nft', rule);
    here(`add table ip ${this.table}`);
    here(`add chain ip ${this.table} in { type nat hook prerouting priority dstnat; }`);
    here(`add chain ip ${this.table} guard { type filter hook input priority 0; }`);
    here(`add rule ip ${this.table} in iifname ${this.link} ip daddr ${address} dnat to ${this.box}`);
    here(`add rule ip ${this.table} guard iifname ${this.link} ct original ip daddr != ${address} drop`);
    run('ip', '-n', this.name, 'route', 'add', 'default', 'via', this.box);
  }

  /** Packets dropped so far. */
  dropped() {
    const list = ['netns', 'exec', this.name, 'nft', 'list', 'counter', 'inet', 'guest', 'dropped'];
    return Number(/packets (\d+)/.exec(String(run('ip', ...list)))[1]);
  }

  remove() {
    if (this.table) spawnSync('nft', [`delete table ip ${this.table}`]);
    // Else it goes with the name space, some time after this returns.
    spawnSync('ip', ['link', 'del', this.link]);
    run('ip', 'netns', 'del', this.name);
    if (this.home) rmSync(this.home, { recursive: true, force: true });
  }
}
