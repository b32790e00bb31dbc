// Fails the build when the page's script outgrows its budget: it has to load at once on a crowded Wi-Fi.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

// 34,000: HTTPS, signing in and setting up have each some words and a control in the page.
const BUDGET_BYTES = 34_000;
const assets = new URL('../dist/assets/', import.meta.url);
const sizes = readdirSync(assets)
  .filter((name) => /\.(js|css)$/.test(name))
  .map((name) => ({ name, bytes: gzipSync(readFileSync(new URL(name, assets)), { level: 9 }).length }));
const script = sizes.filter(({ name }) => name.endsWith('.js')).reduce((sum, { bytes }) => sum + bytes, 0);

for (const { name, bytes } of sizes) console.log(`${name}: ${bytes} bytes gzipped`);
console.log(`script in total: ${script} of ${BUDGET_BYTES} bytes gzipped`);
if (script === 0 || script >= BUDGET_BYTES) {
  console.error(script === 0 ? 'no script was built' : 'the script is over its budget: make it smaller');
  process.exitCode = 1;
}

const page = readFileSync(new URL('../dist/index.html', import.meta.url), 'utf8');
for (const placeholder of ['%ROOT%', '%ASSETS%', '%STREAM%', '%TRUST%']) {
  if (!page.includes(placeholder)) {
    console.error(`dist/index.html has lost ${placeholder}, which the box fills in`);
    process.exitCode = 1;
  }
}
if (/<script(?![^>]*\bsrc=)/.test(page) || /\son[a-z]+=|\sstyle=/.test(page)) {
  console.error(
    "dist/index.html has inline script or style, which the box's content security policy forbids",
  );
  process.exitCode = 1;
}
