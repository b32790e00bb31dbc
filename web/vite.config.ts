import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/**
 * The box fills `%ASSETS%` with the path that leads from the page's address to its assets, so that one file
 * serves `/`, `/pgm` and `/live/pgm`, also behind a proxy that forwards nothing but `/pgm` and `/ws/`.
 */
function assetPlaceholder(): Plugin {
  return {
    name: 'asset-placeholder',
    apply: 'build',
    enforce: 'post',
    generateBundle(_options, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type !== 'asset' || !file.fileName.endsWith('.html')) continue;
        file.source = String(file.source).replaceAll('"./assets/', '"%ASSETS%assets/');
      }
    },
  };
}

/** The administrator's page is built by itself (`--mode admin`), so that viewers' phones share nothing with it to load. */
export default defineConfig(({ mode }) => ({
  base: './',
  plugins: [assetPlaceholder()],
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    outDir: 'dist',
    emptyOutDir: mode !== 'admin',
    rollupOptions: { input: mode === 'admin' ? 'admin.html' : 'index.html' },
    target: ['chrome94', 'firefox93', 'safari15.4'],
    assetsInlineLimit: 0,
    modulePreload: false,
    sourcemap: false,
  },
  test: {
    environment: 'node',
    include: ['src/**/*.test.{ts,tsx}'],
  },
}));
