// A stand-in for the box while working on the page: serves dist/ with its placeholders filled in, as the box does,
// and speaks the WebSocket with a tally that cuts by itself. It has no picture.
//   node dev/mock.mjs [--port 8889] [--for SECONDS] [--scene live|no_source|b_frames|no_vmix|no_sound|silent] [--hold]
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const TITLES = [
  ['CAM 1', 'Capture'],
  ['CAM 2', 'Capture'],
  ['Jimmy Jib', 'NDI'],
  ['무선 카메라 4', 'SRT'],
  ['Opening', 'Video'],
  ['Lower third', 'GT'],
  ['Logo', 'Image'],
  ['CAM 1 + title', 'Mix'],
];

/** Starts a mock on loopback; `stop` ends it. `scene` may be changed while it runs. */
export async function startMock({ port = 0, scene = 'live', hold = false } = {}) {
  const state = { scene, seq: 0, cut: 0, deleted: 0, watched: null, delays: [] };
  const begin = performance.now();
  const now = () => performance.now() - begin + 500_000;

  const streams = () => {
    const live = state.scene !== 'no_source';
    const problem =
      state.scene === 'b_frames'
        ? { code: 'b_frames', text: 'The stream “pgm” has B-frames (2 in a row).' }
        : null;
    const sound = state.scene === 'no_sound' ? null : { codec: 'AAC', channels: 2, sample_rate_hz: 48_000 };
    const one = { codec: 'H.264', width: 1280, height: 720, fps: 30, sound, viewers: 3 };
    return [
      { name: 'pgm', live, playable: !problem, problem, ...one },
      { name: 'clean', live: false, playable: true, problem: null, ...one, viewers: 0 },
    ];
  };
  const tally = () => {
    const known = state.scene !== 'no_vmix';
    const of = (index) =>
      !known
        ? 'unknown'
        : index === state.cut % 4
          ? 'program'
          : index === (state.cut + 1) % 4
            ? 'preview'
            : 'safe';
    return {
      type: 'tally',
      seq: ++state.seq,
      source: known ? 'live' : 'unknown',
      age_ms: known ? 40 : 5000,
      inputs: TITLES.map(([title, kind], index) => ({
        number: index + 1,
        key: `00000000-0000-4000-8000-00000000000${index + 1}`,
        title,
        kind,
        tally: of(index),
      })),
      cameras: [
        { name: 'Camera 1', inputs: [1, 8], tally: of(0) },
        { name: 'Camera 2', inputs: [2], tally: of(1) },
        { name: '지미집', inputs: [3], tally: of(2) },
        { name: '무선 4', inputs: [4], tally: of(3) },
      ],
      show: { streaming: known, recording: known, external: false, fade_to_black: false },
    };
  };
  const hello = (address) => ({
    type: 'hello',
    version: '0.1.0',
    now_ms: now(),
    streams: streams(),
    listen: {
      srt: [
        { url: 'srt://192.168.1.20:8890', stream_id: 'pgm' },
        { url: 'srt://[fd00::20]:8890', stream_id: 'pgm' },
      ],
      latency_ms: 120,
      page: ['http://192.168.1.20:8889/', address],
    },
  });

  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://mock');
    response.setHeader('Content-Security-Policy', POLICY);
    response.setHeader('Cache-Control', 'no-store');
    const asset = /\/assets\/([^/]+)$/.exec(pathname)?.[1];
    try {
      if (asset) {
        response.setHeader('Content-Type', TYPES[extname(asset)] ?? 'application/octet-stream');
        response.end(await readFile(join(DIST, 'assets', normalize(asset))));
      } else if (request.method === 'DELETE') {
        state.deleted += 1;
        response.end();
      } else if (pathname.endsWith('/whep')) {
        request.resume();
        const live = state.scene !== 'no_source';
        const code = state.scene === 'b_frames' ? 'b_frames' : live ? 'no_picture' : 'not_live';
        response.writeHead(live ? 422 : 409, {
          'Content-Type': 'application/problem+json',
          'Retry-After': '2',
        });
        response.end(JSON.stringify({ code, detail: 'The mock has no picture.' }));
      } else {
        const names = pathname.split('/').filter(Boolean);
        const page = (await readFile(join(DIST, 'index.html'), 'utf8'))
          .replaceAll('%ROOT%', names.length > 1 ? '../' : './')
          .replaceAll('%ASSETS%', names.length > 0 ? `./${names.at(-1)}/` : './')
          .replaceAll('%STREAM%', names.join('/').replace(/^live\//, '') || 'pgm');
        response.setHeader('Content-Type', 'text/html; charset=utf-8');
        response.end(page);
      }
    } catch {
      response.writeHead(404);
      response.end();
    }
  });

  const sockets = new WebSocketServer({ server, maxPayload: 4096 });
  const tell = (socket, message) => {
    if (state.scene !== 'silent' && socket.readyState === 1) socket.send(JSON.stringify(message));
  };
  const tellAll = (message) => {
    for (const socket of sockets.clients) tell(socket, message);
  };
  sockets.on('connection', (socket, request) => {
    tell(socket, tally());
    tell(socket, hello(`http://${request.headers.host}/`));
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.type === 'ping') tell(socket, { type: 'clock', id: message.id, received_ms: now() });
      else if (message.type === 'watch') state.watched = message;
      else if (message.type === 'delay') state.delays.push(message.ms);
      else socket.close(1008);
    });
  });
  const beat = setInterval(() => tellAll(tally()), 500);
  const cuts = setInterval(() => {
    if (hold) return;
    state.cut += 1;
    tellAll(tally());
  }, 3000);
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    now,
    state,
    set(next) {
      Object.assign(state, next);
      tellAll(tally());
      tellAll({ type: 'streams', streams: streams() });
    },
    media: (rtp) => tellAll({ type: 'media', stream: 'pgm', rtp }),
    edge: (session, rtp) => tellAll({ type: 'edge', session, rtp }),
    dropAll() {
      for (const socket of sockets.clients) socket.terminate();
    },
    stop() {
      clearInterval(beat);
      clearInterval(cuts);
      for (const socket of sockets.clients) socket.terminate();
      server.closeAllConnections();
      server.close();
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '8889' },
      for: { type: 'string', default: '3600' },
      scene: { type: 'string', default: 'live' },
      hold: { type: 'boolean', default: false },
    },
  });
  const mock = await startMock({ port: Number(values.port), scene: values.scene, hold: values.hold });
  console.log(mock.url);
  setTimeout(() => {
    mock.stop();
  }, Number(values.for) * 1000);
}
