// A vMix for the browser tests: its TCP API only, as far as tally needs it.
import { createServer, connect as dial } from 'node:net';

export const KEYS = [1, 2, 3].map((n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`);

/** Listens, answers, and sends each change of tally at once; `freeze` makes it mute, `stop` makes it vanish. */
export class Vmix {
  #sockets = new Map();
  #tally = '000';
  #frozen = false;

  static async start(port = 0) {
    const vmix = new Vmix();
    vmix.server = createServer((socket) => vmix.#serve(socket));
    await new Promise((resolve) => vmix.server.listen(port, '127.0.0.1', resolve));
    vmix.port = vmix.server.address().port;
    return vmix;
  }

  #serve(socket) {
    const state = { subscribed: false, rest: '' };
    this.#sockets.set(socket, state);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    socket.write('VERSION OK 29.0.0.49\r\n');
    socket.on('data', (data) => {
      const lines = (state.rest + data).split('\r\n');
      state.rest = lines.pop() ?? '';
      for (const line of lines) if (!this.#frozen) socket.write(this.#answer(line, state));
    });
  }

  #answer(line, state) {
    const [command, ...rest] = line.split(' ');
    switch (command) {
      case 'SUBSCRIBE':
        if (rest[0] === 'TALLY') state.subscribed = true;
        return `SUBSCRIBE OK ${rest[0]} Subscribed\r\n`;
      case 'TALLY':
        return `TALLY OK ${this.#tally}\r\n`;
      case 'VERSION':
        return 'VERSION OK 29.0.0.49\r\n';
      case 'XML': {
        const document = this.#xml();
        return `XML ${document.length + 2}\r\n${document}\r\n`;
      }
      case 'XMLTEXT':
        return 'XMLTEXT OK 29.0.0.49\r\n';
      default:
        return `${command} ER Unknown Command\r\n`;
    }
  }

  #xml() {
    const inputs = KEYS.map((key, at) => {
      const title = `CAM ${at + 1}`;
      return `<input key="${key}" number="${at + 1}" type="Capture" title="${title}" shortTitle="${title}" state="Running">${title}</input>`;
    });
    const with_ = (digit) => this.#tally.indexOf(digit) + 1;
    return (
      `<vmix><version>29.0.0.49</version><edition>4K</edition><inputs>${inputs.join('')}</inputs>` +
      `<overlays></overlays><preview>${with_('2')}</preview><active>${with_('1')}</active>` +
      '<fadeToBlack>False</fadeToBlack><recording>False</recording><external>False</external>' +
      '<streaming>False</streaming></vmix>'
    );
  }

  setTally(digits) {
    this.#tally = digits;
    for (const [socket, { subscribed }] of this.#sockets) {
      if (subscribed && !this.#frozen) socket.write(`TALLY OK ${digits}\r\n`);
    }
  }

  freeze(frozen) {
    this.#frozen = frozen;
  }

  async stop() {
    for (const socket of this.#sockets.keys()) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Calls a function of a vMix (the simulator), e.g. `CutDirect Input=2`. */
export async function vmixFunction(port, call) {
  const socket = dial(port, '127.0.0.1');
  let heard = '';
  try {
    await new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('data', (data) => {
        heard += data;
        if (heard.includes('FUNCTION OK')) resolve();
        if (heard.includes('FUNCTION ER')) reject(new Error(heard));
      });
      socket.write(`FUNCTION ${call}\r\n`);
    });
  } finally {
    socket.destroy();
  }
}
