// Joining: the first picture that is seen is of the present, wherever in the group of pictures it falls.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, ffmpeg, until } from './support/box.mjs';
import { launch, open, pictureMoves } from './support/browser.mjs';

/** Places in the group of pictures at which is joined. */
const JOINS = 10;
const GOP_MS = 2000;

let browser;
let box;
let source;

before(async () => {
  box = await Box.start();
  source = ffmpeg(box, { size: '1280x720', bitrate: '4M', gop: 60 });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await source?.stop();
  await box?.stop();
});

/** Runs in the page: notes each picture that is drawn, whether it could be seen, and when the offer was sent. */
function watchTheCurtain() {
  window.drawn = [];
  window.edges = [];
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (tell) {
    return ask.call(this, (now, frame) => {
      tell(now, frame);
      const at = Math.max(frame.expectedDisplayTime, now);
      const picture = { rtp: frame.rtpTimestamp, at, wall: performance.timeOrigin + at };
      window.drawn.push(picture);
      if (window.drawn.length > 300) window.drawn.shift();
      queueMicrotask(() =>
        queueMicrotask(() => {
          picture.shown = getComputedStyle(this).opacity === '1';
        }),
      );
    });
  };
  const plain = window.fetch;
  window.fetch = (url, init) => {
    if (init?.method === 'POST') window.postedAt = performance.now();
    return plain(url, init);
  };
  const Plain = window.WebSocket;
  window.WebSocket = class extends Plain {
    constructor(url) {
      super(url);
      this.addEventListener('message', ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'edge') window.edges.push({ ...message, at: performance.now() });
      });
    }
  };
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const delayMs = async (page) =>
  Number(await until('a delay', () => page.locator('#delay').getAttribute('data-ms')));

test('a joiner first sees the present, and is no later than who was there before', {
  timeout: 180_000,
}, async () => {
  await until('the feed', async () =>
    (await box.status()).streams.some((stream) => stream.live && stream.tracks.some(({ width }) => width)),
  );
  const earlier = await open(browser, `${box.base}/pgm`, { before: watchTheCurtain });
  await pictureMoves(earlier, 60);
  const offer = await earlier.evaluate(() => window.peers.at(-1).localDescription.sdp);
  assert.match(offer, /^a=rtcp-fb:\d+ rrtr\r$/m, 'Chromium takes the wish to know its round trip');
  const joins = [];
  for (let n = 0; n < JOINS; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, (n * GOP_MS) / JOINS));
    const page = await open(browser, `${box.base}/pgm`, { before: watchTheCurtain });
    await pictureMoves(page, 60);
    const { drawn, edges, postedAt } = await page.evaluate(() => ({
      drawn: window.drawn,
      edges: window.edges,
      postedAt: window.postedAt,
    }));
    const first = drawn.findIndex(({ shown }) => shown);
    const hidden = drawn.slice(0, first);
    // What the viewer who was there before sees at the same moment.
    const theirs = (await earlier.evaluate(() => window.drawn)).filter(
      ({ wall }) => wall <= drawn[first].wall,
    );
    const behindMs = ((theirs.at(-1).rtp - drawn[first].rtp) | 0) / 90;
    assert.match(edges[0]?.session ?? '', /^[0-9a-f]{32}$/);
    joins.push({
      joinMs: drawn[first].at - postedAt,
      hidden: hidden.length,
      behindMs,
      edgeMs: edges[0] ? edges[0].at - postedAt : null,
      afterEdge: edges[0] ? ((drawn[first].rtp - edges[0].rtp) | 0) / 90 : null,
      delayMs: await delayMs(page),
    });
    assert.ok(
      drawn.slice(first).every(({ shown }) => shown),
      'what is live is never hidden',
    );
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
  const before_ = await delayMs(earlier);
  await earlier.context().close();
  for (const { joinMs, hidden, behindMs, edgeMs, afterEdge, delayMs } of joins) {
    console.log(
      `joined in ${joinMs.toFixed(0)} ms, edge named after ${edgeMs?.toFixed(0)} ms, ${hidden} old pictures hidden, first picture ${behindMs.toFixed(0)} ms older than the earlier viewer's, ${afterEdge?.toFixed(0)} ms after the edge, then ${delayMs} ms late`,
    );
  }
  console.log(`who was there before is ${before_} ms late`);
  console.log(`join p50 ${median(joins.map(({ joinMs }) => joinMs)).toFixed(0)} ms`);
  for (const join of joins) {
    assert.notEqual(join.edgeMs, null, 'the box named the edge');
    assert.ok(join.afterEdge >= -2, 'nothing before the edge was seen');
    assert.ok(Math.abs(join.delayMs - before_) < 40, `${join.delayMs} ms late, not ${before_} ms`);
  }
  // A busy machine shows the odd one later.
  const behind = joins.map(({ behindMs }) => behindMs).sort((a, b) => a - b);
  assert.ok(behind[Math.floor(JOINS * 0.7)] < 100, `the first picture is of the present: ${behind}`);
  // Waiting for the next key frame takes half a group on average.
  assert.ok(median(joins.map(({ joinMs }) => joinMs)) < GOP_MS / 4, 'nobody waits for a key frame');
});
