// Where no UDP comes straight from the box: the relay, over UDP, TCP and TLS, and TCP at the media port.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, ffmpeg, freePort, until } from './support/box.mjs';
import { launch, look, open, pictureMoves } from './support/browser.mjs';
import { GuestNetwork } from './support/netns.mjs';
import { TrustingHome } from './support/trust.mjs';

let browser;
let box;
let source;
let trusting;

before(async () => {
  box = await Box.start({ more: `[https]\nlisten = "127.0.0.1:${await freePort()}"\n` });
  source = ffmpeg(box);
  trusting = await TrustingHome.of(box);
  browser = await launch({ home: trusting.home });
});

after(async () => {
  await browser?.close();
  await source?.stop();
  await box?.stop();
  trusting?.remove();
});

/** Runs in the page: every connection may use relays alone, of addresses that match; `port` takes the place of theirs. */
function relayOnly(matching, port) {
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
    }
    setConfiguration(configuration) {
      const iceServers = configuration.iceServers.map((server) => ({
        ...server,
        urls: server.urls
          .filter((url) => new RegExp(matching).test(url))
          .map((url) => (port ? url.replace(/:\d+\?/, `:${port}?`) : url)),
      }));
      super.setConfiguration({ ...configuration, iceServers });
    }
  };
}

async function detail(page, word) {
  // The controls hide while nobody moves.
  await page.mouse.move(40, 40);
  await page.mouse.move(80, 80);
  await page.locator('#details').click();
  const row = page.locator('dl.table div', { hasText: word }).locator('dd');
  const text = await until('the path', async () => {
    const text = await row.first().textContent();
    return text !== '–' && text;
  });
  await page.keyboard.press('Escape');
  return text;
}

const WAYS = [
  { over: 'udp', matching: '^turn:.*=udp$' },
  { over: 'tcp', matching: '^turn:.*=tcp$' },
  { over: 'tls', on: " on HTTPS's port", matching: '^turns:' },
  { over: 'tls', on: ' on a port of its own', matching: '^turns:', port: () => box.turnsPort },
];

for (const { over, on = '', matching, port } of WAYS) {
  test(`a page that may use relays alone plays over ${over}${on}`, { timeout: 60_000 }, async () => {
    const began = performance.now();
    const page = await open(browser, `${box.base}/pgm`, {
      before: `(${relayOnly})(${JSON.stringify(matching)}, ${port?.() ?? 0})`,
    });
    await pictureMoves(page, 30);
    console.log(`relayed over ${over}: 30 pictures after ${(performance.now() - began).toFixed(0)} ms`);
    assert.equal(await detail(page, 'Path'), `relayed · ${over.toUpperCase()}`);
    const delay = await until('the delay', () => page.locator('#delay').getAttribute('data-ms'));
    console.log(`relayed over ${over}: delay ${delay} ms`);
    const lost = await look(page, async () => {
      const report = await window.peers.at(-1).getStats();
      return [...report.values()].find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video')
        .packetsLost;
    });
    assert.equal(lost, 0);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
}

test('a page that reaches the box directly does not use the relay', { timeout: 60_000 }, async () => {
  const page = await open(browser, `${box.base}/pgm`);
  await pictureMoves(page, 60);
  assert.equal(await detail(page, 'Path'), 'direct · UDP');
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.request().method() === 'POST'),
    page.reload(),
  ]);
  const links = (await answer.headersArray()).filter(({ name }) => name.toLowerCase() === 'link');
  assert.equal(links.length, 3, 'WHEP names the relay, over UDP, TCP and TLS');
  for (const { value } of links) assert.match(value, /^<turns?:127\.0\.0\.1:.*rel="ice-server"; username="/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

const GUESTS = [
  // Chromium looks for no further ways once one works: of two that come at the same time it may stay with either.
  { what: 'lets no UDP through', match: () => ['meta l4proto udp'], path: /^(direct|relayed) · TCP$/ },
  {
    what: 'lets no UDP through to a box that relays nobody',
    match: () => ['meta l4proto udp'],
    turn: 'enabled = false',
    path: /^direct · TCP$/,
  },
  {
    what: 'lets no UDP through and blocks the media port',
    match: (box) => ['meta l4proto udp', `tcp dport ${box.webrtcPort}`],
    path: /^relayed · TCP$/,
  },
  {
    what: 'blocks the media port for UDP alone',
    match: (box) => [`udp dport ${box.webrtcPort}`],
    path: /^(relayed · UDP|direct · TCP)$/,
  },
];

const isPossible = GuestNetwork.possible();
const namespaces = {
  timeout: 120_000,
  skip: isPossible ? false : 'needs root and network namespaces',
};

/** A box, its feed and a browser in a network of its own, for as long as `look` takes. */
async function withGuest({ prepare, ...settings }, look) {
  const network = new GuestNetwork();
  let here;
  let feed;
  let guest;
  try {
    here = await Box.start({ host: '0.0.0.0', ...settings });
    feed = ffmpeg(here);
    await until('the feed', async () => (await here.status()).streams.some(({ live }) => live));
    await prepare(network, here);
    guest = await launch({ program: network.browser });
    await look(guest, network, here);
  } finally {
    await guest?.close();
    await feed?.stop();
    await here?.stop();
    network.remove();
  }
}

for (const { what, match, turn, path } of GUESTS) {
  test(`a page whose network ${what} plays by itself`, namespaces, async () => {
    const prepare = (network, here) => {
      for (const blocked of match(here)) network.block(blocked);
    };
    await withGuest({ turn, prepare }, async (guest, network, here) => {
      const began = performance.now();
      const page = await open(guest, `http://${network.box}:${here.httpPort}/pgm`);
      await pictureMoves(page, 1, 40_000);
      console.log(`${what}: a picture after ${(performance.now() - began).toFixed(0)} ms`);
      await pictureMoves(page, 60, 40_000);
      const by = await detail(page, 'Path');
      assert.match(by, path);
      const delay = await until('the delay', () => page.locator('#delay').getAttribute('data-ms'));
      console.log(`${what}: delay ${delay} ms`);
      assert.ok(network.dropped() > 0, 'it was blocked');
      const over = (await here.status()).sessions.map(({ transport }) => transport);
      assert.deepEqual(over, [by === 'direct · TCP' ? 'tcp' : 'udp']);
      assert.deepEqual(page.faults, []);
    });
  });
}

const PUBLIC = '203.0.113.9';

/** Runs in the page: no other address of the box is known. */
function hearOf(address) {
  window.RTCPeerConnection = class extends RTCPeerConnection {
    setRemoteDescription({ type, sdp }) {
      const lines = sdp
        .split('\r\n')
        .filter((line) => !line.startsWith('a=candidate:') || line.includes(` ${address} `));
      return super.setRemoteDescription({ type, sdp: lines.join('\r\n') });
    }
  };
}

const ROUTERS = [
  { what: 'plays', path: 'direct · UDP' },
  {
    what: 'plays without UDP and without a relay',
    match: 'meta l4proto udp',
    turn: 'enabled = false',
    path: 'direct · TCP',
  },
  { what: 'may use relays alone, over UDP', relays: '^turn:.*=udp$', path: 'relayed · UDP' },
  { what: 'may use relays alone, over TCP', relays: '^turn:.*=tcp$', path: 'relayed · TCP' },
];

for (const { what, match, turn, relays, path } of ROUTERS) {
  test(`a page that reaches the box through a router ${what}`, namespaces, async () => {
    const prepare = (network) => {
      network.behindRouter(PUBLIC);
      if (match) network.block(match);
    };
    const webrtc = `public_addresses = ["${PUBLIC}"]`;
    await withGuest({ webrtc, turn, prepare }, async (guest, _, here) => {
      const only = relays ? `(${relayOnly})(${JSON.stringify(relays)}, 0);` : '';
      const before = `${only}(${hearOf})(${JSON.stringify(PUBLIC)})`;
      const page = await open(guest, `http://${PUBLIC}:${here.httpPort}/pgm`, { before });
      await pictureMoves(page, 60, 40_000);
      assert.equal(await detail(page, 'Path'), path);
      const remote = await look(page, async () => {
        const report = [...(await window.peers.at(-1).getStats()).values()];
        const of = (id) => report.find((entry) => entry.id === id);
        return of(
          of(report.find(({ type }) => type === 'transport').selectedCandidatePairId).remoteCandidateId,
        ).address;
      });
      assert.equal(remote, PUBLIC);
      assert.deepEqual(page.faults, []);
    });
  });
}
