// Who may watch: by PIN, by a link of one's own until it is revoked; and the page on which links are made.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Box, ffmpeg, until } from './support/box.mjs';
import { launch, look, open, pictureMoves } from './support/browser.mjs';

const PIN = '482915';
const PASSWORD = 'correct horse battery';

let browser;
let box;
let source;

before(async () => {
  box = await Box.start({ more: `[access]\nviewing = "pin"\npin = "${PIN}"\n` });
  source = ffmpeg(box);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await source?.stop();
  await box?.stop();
});

const shows = (page, selector) => page.locator(selector).waitFor({ timeout: 15_000 });

/** Of what the page itself threw; that the box turned it down is in the console, and meant. */
const faults = (page) => page.faults.filter((fault) => !/401|WebSocket/.test(fault));

test('a PIN is asked for, a wrong one told, the right one opens, and it is asked once', async () => {
  const page = await open(browser, `${box.base}/pgm`);
  await shows(page, '#pin');
  assert.equal(await page.locator('#pin').getAttribute('inputmode'), 'numeric');
  assert.equal(await page.locator('video').count(), 0);
  await page.fill('#pin', '123987');
  await page.click('#enter');
  await until('the words', async () => /not the PIN/.test(await page.locator('#door-trouble').textContent()));
  await page.fill('#pin', PIN);
  await page.click('#enter');
  await pictureMoves(page);
  assert.equal(await look(page, () => document.cookie), '', 'no script can read what it was given');
  await page.reload();
  await pictureMoves(page);
  assert.deepEqual(faults(page), []);
  await page.context().close();
});

test('too many wrong PINs are told with the time that is left, in the language of the browser', async () => {
  const page = await open(browser, `${box.base}/pgm`, { locale: 'ko-KR' });
  await shows(page, '#pin');
  const guess = () =>
    fetch(`${box.base}/api/v1/session`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"pin":"000000"}',
    });
  // From the same address; the one of the test above counts as well.
  const answers = await Promise.all(Array.from({ length: 12 }, guess));
  assert.ok(answers.some(({ status }) => status === 429));
  await page.fill('#pin', PIN);
  await page.click('#enter');
  await until('the words', async () => /\d+초 뒤에/.test(await page.locator('#door-trouble').textContent()));
  assert.equal(await page.locator('#pin').isDisabled(), true);
  await page.context().close();
});

test('the administrator makes a link, its person watches by it, and not any more once it is revoked', async () => {
  const admin = await open(browser, `${box.base}/admin`);
  await shows(admin, '#code');
  await admin.fill('#code', box.setupCode());
  await admin.fill('#password', PASSWORD);
  await admin.click('#go');
  await shows(admin, '#make');
  await admin.click('#sign-out');
  await shows(admin, '#forgotten');
  await admin.fill('#password', 'another horse');
  await admin.click('#go');
  await until('the words', async () =>
    /not the administrator/.test(await admin.locator('#trouble').textContent()),
  );
  await admin.fill('#password', PASSWORD);
  await admin.click('#go');
  await shows(admin, '#make');
  await until('the memory and its bound', async () =>
    /Memory: \d+ of \d{3} MB/.test(await admin.locator('#state').textContent()),
  );
  await admin.fill('#name', 'Crane');
  await admin.click('#make');
  await shows(admin, '.qr svg');
  const url = await admin.locator('#url').textContent();
  assert.match(url, new RegExp(`^${box.base}/join/link_[\\w-]{43}$`));

  const crane = await open(browser, url);
  await pictureMoves(crane);
  assert.equal(crane.url().includes('link_'), false, 'the token has left the address');
  assert.equal(await look(crane, () => document.cookie), '');
  await admin.click('.revoke');
  await shows(crane, '#pin');
  assert.equal(await crane.locator('video').count(), 0);
  await crane.goto(url);
  await shows(crane, '#link-ended');
  assert.deepEqual(faults(crane), []);
  assert.deepEqual(faults(admin), []);
  await crane.context().close();
  await admin.context().close();
});
