// Fails the build when a page's script outgrows its budget: it has to load at once on a crowded Wi-Fi.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

/** By the beginning of the file's name. The viewers' page: HTTPS, the PIN and setting up have each some words in it. */
const BUDGETS = { index: 34_000, admin: 16_000 };
const assets = new URL('../dist/assets/', import.meta.url);
const sizes = readdirSync(assets)
  .filter((name) => /\.(js|css)$/.test(name))
  .map((name) => ({ name, bytes: gzipSync(readFileSync(new URL(name, assets)), { level: 9 }).length }));

for (const { name, bytes } of sizes) console.log(`${name}: ${bytes} bytes gzipped`);
for (const [page, budget] of Object.entries(BUDGETS)) {
  const own = sizes.filter(({ name }) => name.startsWith(`${page}-`) && name.endsWith('.js'));
  const script = own.reduce((sum, { bytes }) => sum + bytes, 0);
  console.log(`script of ${page} in total: ${script} of ${budget} bytes gzipped`);
  if (script === 0 || script >= budget) {
    console.error(script === 0 ? 'no script was built' : 'the script is over its budget: make it smaller');
    process.exitCode = 1;
  }
  const html = readFileSync(new URL(`../dist/${page}.html`, import.meta.url), 'utf8');
  const filled = ['%ROOT%', '%ASSETS%', '%STREAM%'];
  for (const placeholder of page === 'index' ? [...filled, '%TRUST%'] : filled) {
    if (!html.includes(placeholder)) {
      console.error(`dist/${page}.html has lost ${placeholder}, which the box fills in`);
      process.exitCode = 1;
    }
  }
  if (/<script(?![^>]*\bsrc=)/.test(html) || /\son[a-z]+=|\sstyle=/.test(html)) {
    console.error(
      `dist/${page}.html has inline script or style, which the box's content security policy forbids`,
    );
    process.exitCode = 1;
  }
}
const others = sizes.filter(({ name }) => !Object.keys(BUDGETS).some((page) => name.startsWith(`${page}-`)));
if (others.length > 0) {
  console.error(`no page's: ${others.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}
