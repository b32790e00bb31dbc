// The box and what stands around it, as child processes on free ports of the loopback address.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BINARY =
  process.env.RETURNFEED ?? new URL('../../../target/debug/returnfeed', import.meta.url).pathname;

/** Waits until `check` gives something true, asking every 20 ms; an error in it counts as "not yet". */
export async function until(what, check, within = 15_000) {
  const deadline = performance.now() + within;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${within} ms in vain for ${what}: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const taken = new Set();

/** Below those that the system gives to whoever connects somewhere: one of them may be taken again before the box has it. */
const PORTS = { first: 20_000, count: 12_000 };

/** A port that is free for TCP and UDP, and was not given out before. */
export async function freePort() {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    if (taken.has(port)) continue;
    taken.add(port);
    const tcp = await new Promise((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
    });
    const udp = await new Promise((resolve) => {
      const socket = createSocket('udp4');
      socket.once('error', () => resolve(false));
      socket.bind(port, '0.0.0.0', () => socket.close(() => resolve(true)));
    });
    if (tcp && udp) return port;
  }
}

/** A child process that keeps what it says; `stop` ends it and waits until it has ended. */
export class Child {
  #child;
  /** Kept when the process has ended. */
  ended;
  #said = '';

  constructor(program, args, options = {}) {
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      pipe.on('data', (data) => {
        this.#said = (this.#said + data).slice(-200_000);
      });
    }
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', resolve);
      this.#child.once('error', (error) => {
        this.#said += error;
        resolve(null);
      });
    });
    children.add(this);
  }

  said() {
    return this.#said;
  }

  signal(name) {
    this.#child.kill(name);
  }

  async stop(signal = 'SIGKILL') {
    children.delete(this);
    this.#child.kill('SIGCONT');
    this.#child.kill(signal);
    await this.ended;
  }
}

const children = new Set();
process.on('exit', () => {
  for (const child of children) child.signal('SIGKILL');
});

/** A box that can be killed and started again with the same settings and addresses. */
export class Box {
  static async start({
    vmixPort = 1,
    host = '127.0.0.1',
    more = '',
    http = '',
    webrtc = '',
    turn = '',
  } = {}) {
    const box = new Box();
    box.home = mkdtempSync(join(tmpdir(), 'returnfeed-e2e-'));
    const ports = [await freePort(), await freePort(), await freePort(), await freePort(), await freePort()];
    [box.httpPort, box.srtPort, box.webrtcPort, box.turnPort, box.turnsPort] = ports;
    box.settings = join(box.home, 'returnfeed.toml');
    writeFileSync(
      box.settings,
      `[http]
listen = "${host}:${box.httpPort}"
${http}
[srt]
listen = "${host}:${box.srtPort}"
latency_ms = 20
[webrtc]
listen = "${host}:${box.webrtcPort}"
${webrtc}
[turn]
listen = "${host}:${box.turnPort}"
tls_listen = "${host}:${box.turnsPort}"
${turn}
[vmix]
host = "127.0.0.1"
tcp_port = ${vmixPort}
http_port = 2
${more}`,
    );
    await box.resume();
    return box;
  }

  get base() {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  /** What makes an administrator; the box has drawn it at its first start. */
  setupCode() {
    return readFileSync(join(this.home, 'setup-code'), 'utf8').trim();
  }

  async status() {
    return (await fetch(`${this.base}/api/v1/status`)).json();
  }

  async resume() {
    const { home } = this;
    const env = { ...process.env, HOME: home, XDG_STATE_HOME: home, STATE_DIRECTORY: home };
    delete env.JOURNAL_STREAM;
    this.child = new Child(BINARY, ['run', '--config', this.settings], { env });
    await until('the box to answer', () => this.status()).catch((error) => {
      throw new Error(`${error.message}\n${this.child.said()}`);
    });
  }

  async kill() {
    await this.child.stop();
  }

  async stop() {
    await this.child.stop();
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** The program's own simulated vMix: a feed and tally, cutting on command only. */
export class Simulator {
  static async start(box, { tcpPort } = {}) {
    const simulator = new Simulator();
    simulator.tcpPort = tcpPort ?? (await freePort());
    simulator.child = new Child(BINARY, [
      'simulate',
      ...['--srt', `srt://127.0.0.1:${box.srtPort}`],
      ...['--tcp-port', String(simulator.tcpPort), '--http-port', String(await freePort())],
    ]);
    return simulator;
  }

  async stop() {
    await this.child.stop();
  }
}

/**
 * Left is 20 dB louder than right; both are 20 dB louder in every other second. Never silent: ffmpeg gathers the tiny
 * frames of silence, up to 0.3 s of them, whatever is said of its payload size.
 */
const TONES = ['0.5', '0.05'].map((level) => `${level}*sin(880*PI*t)*(0.1+0.9*lt(mod(t\\,2)\\,1))`).join('|');

/** Debian's ffmpeg as a source; `gop` in pictures, of which there are 30 a second. */
export function ffmpeg(
  box,
  { streamId = 'pgm', bFrames = 0, size = '640x360', bitrate = '1M', gop = 30, sound = false } = {},
) {
  return new Child('/usr/bin/ffmpeg', [
    ...['-hide_banner', '-loglevel', 'warning', '-nostdin', '-re'],
    ...['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=30`],
    ...(sound
      ? ['-f', 'lavfi', '-i', `aevalsrc=${TONES}:s=48000`, '-c:a', 'aac', '-pes_payload_size', '0']
      : []),
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-g', String(gop)],
    ...(bFrames === 0 ? ['-tune', 'zerolatency'] : []),
    ...['-bf', String(bFrames), '-b:v', bitrate, '-f', 'mpegts'],
    `srt://127.0.0.1:${box.srtPort}?streamid=${streamId}&latency=20000`,
  ]);
}
