// A reverse proxy that forwards nothing but `/{name}…` and `/ws/…`, and can go silent.
import { createServer, request } from 'node:http';
import { connect } from 'node:net';

export class Front {
  #sockets = new Set();
  refused = [];

  static async start(target, name = 'pgm') {
    const proxy = new Front();
    const { port } = new URL(target);
    const allowed = (url) => {
      const forwarded = [`/${name}`, '/ws/'].some((prefix) => url.startsWith(prefix));
      if (!forwarded) proxy.refused.push(url);
      return forwarded;
    };
    proxy.server = createServer((incoming, outgoing) => {
      if (!allowed(incoming.url)) {
        outgoing.writeHead(404).end();
        return;
      }
      const forwarded = request(
        { host: '127.0.0.1', port, path: incoming.url, method: incoming.method, headers: incoming.headers },
        (answer) => {
          outgoing.writeHead(answer.statusCode, answer.headers);
          answer.pipe(outgoing);
        },
      );
      forwarded.on('error', () => outgoing.writeHead(502).end());
      incoming.pipe(forwarded);
    });
    proxy.server.on('upgrade', (incoming, socket, head) => {
      if (!allowed(incoming.url)) {
        socket.end('HTTP/1.1 404 Not Found\r\n\r\n');
        return;
      }
      const upstream = connect(port, '127.0.0.1', () => {
        const lines = [`${incoming.method} ${incoming.url} HTTP/1.1`];
        for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
          lines.push(`${incoming.rawHeaders[at]}: ${incoming.rawHeaders[at + 1]}`);
        }
        upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
        upstream.write(head);
        upstream.pipe(socket);
        socket.pipe(upstream);
      });
      for (const one of [socket, upstream]) {
        proxy.#sockets.add(one);
        one.on('error', () => {});
        one.on('close', () => {
          proxy.#sockets.delete(one);
          socket.destroy();
          upstream.destroy();
        });
      }
    });
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    proxy.base = `http://127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** Stops forwarding on open WebSockets without closing them, as a dead radio link does. */
  silence() {
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** Cuts every open WebSocket. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop() {
    this.cut();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
