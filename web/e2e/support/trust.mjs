// A home directory whose browsers trust the authority that a box hands out.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class TrustingHome {
  static async of(box) {
    const trusting = new TrustingHome();
    trusting.home = mkdtempSync(join(tmpdir(), 'returnfeed-trust-'));
    const database = join(trusting.home, '.pki/nssdb');
    mkdirSync(database, { recursive: true });
    trusting.pem = join(trusting.home, 'ca.pem');
    writeFileSync(trusting.pem, await (await fetch(`${box.base}/trust/returnfeed-ca.pem`)).text());
    const certutil = (...args) => execFileSync('certutil', ['-d', `sql:${database}`, ...args]);
    certutil('-N', '--empty-password');
    certutil('-A', '-t', 'C,,', '-n', 'ReturnFeed', '-i', trusting.pem);
    return trusting;
  }

  remove() {
    rmSync(this.home, { recursive: true, force: true });
  }
}
