// HTTPS with the box's own authority, in a browser that trusts it and in one that does not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, ffmpeg, freePort, until } from './support/box.mjs';
import { launch, look, open, pictureMoves } from './support/browser.mjs';
import { TrustingHome } from './support/trust.mjs';

let box;
let source;
let secure;

before(async () => {
  const port = await freePort();
  box = await Box.start({ more: `[https]\nlisten = "127.0.0.1:${port}"\n` });
  secure = `https://localhost:${port}`;
  source = ffmpeg(box);
});

after(async () => {
  await source?.stop();
  await box?.stop();
});

test('a device that trusts the box plays over HTTPS and keeps its screen on', {
  timeout: 60_000,
}, async () => {
  const trusting = await TrustingHome.of(box);
  const browser = await launch({ home: trusting.home });
  try {
    const page = await open(browser, `${secure}/pgm`);
    await pictureMoves(page, 30);
    assert.equal(await look(page, () => isSecureContext), true);
    const protocol = await look(page, () => performance.getEntriesByType('navigation')[0].nextHopProtocol);
    assert.equal(protocol, 'h2');
    await until('the tally link', () =>
      look(page, () => performance.getEntriesByType('resource').length > 0),
    );
    const kept = await look(page, async () => {
      const lock = await navigator.wakeLock.request('screen');
      return { released: lock.released, type: lock.type };
    });
    assert.deepEqual(kept, { released: false, type: 'screen' });
    await page.locator('#details').click();
    const row = page.locator('dl.table div', { hasText: 'Screen kept on' }).locator('dd');
    await until('the page to hold its own lock', async () => (await row.first().textContent()) === 'yes');
    assert.equal(await page.locator('.trust').count(), 0, 'nothing is missing here');
    assert.deepEqual(page.faults, []);
  } finally {
    await browser.close();
    trusting.remove();
  }
});

test('a device that does not is warned, and is told over HTTP what to do', { timeout: 60_000 }, async () => {
  const browser = await launch();
  try {
    await assert.rejects(open(browser, `${secure}/pgm`), /ERR_CERT_AUTHORITY_INVALID/);
    const page = await open(browser, `${box.base}/pgm`);
    await page.locator('#details').click();
    await page.locator('.trust').click();
    await page.waitForURL('**/trust');
    const words = await page.locator('main').textContent();
    assert.match(words, /Trust this box/);
    assert.match(words, /([0-9A-F]{2}:){31}[0-9A-F]{2}/);
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByText('returnfeed.mobileconfig').click(),
    ]);
    assert.equal(download.suggestedFilename(), 'returnfeed.mobileconfig');
    assert.deepEqual(page.faults, []);
  } finally {
    await browser.close();
  }
});
