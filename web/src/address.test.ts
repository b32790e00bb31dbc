import { describe, expect, it } from 'vitest';
import {
  firstPlace,
  type Memory,
  placeUrl,
  readPlace,
  sharedUrl,
  site,
  socketUrl,
  trustUrl,
  whepUrl,
} from './address';

function memory(values: Record<string, string> = {}): Memory {
  return {
    get: (key) => values[key] ?? null,
    set: (key, value) => {
      if (value === null) delete values[key];
      else values[key] = value;
    },
  };
}

describe('the way to HTTPS', () => {
  it('is told by a box that has it, to a page that has not', () => {
    expect(trustUrl('http://box:8889/', 'trust')).toBe('http://box:8889/trust');
    expect(trustUrl('http://box:8889/', '')).toBeNull();
    expect(trustUrl('http://box:8889/', '%TRUST%')).toBeNull();
  });
});

describe('site', () => {
  it('finds the root from each depth', () => {
    expect(site('http://box:8889/', '', 'pgm')).toEqual({
      root: 'http://box:8889/',
      stream: 'pgm',
      explicit: false,
    });
    expect(site('http://box:8889/pgm?camera=1', './', 'pgm')).toEqual({
      root: 'http://box:8889/',
      stream: 'pgm',
      explicit: true,
    });
    expect(site('http://box/studio/a', '../', 'studio/a')).toEqual({
      root: 'http://box/',
      stream: 'studio/a',
      explicit: true,
    });
  });

  it('finds the root below a proxy', () => {
    const at = site('https://crew.example/show7/pgm', './', 'pgm');
    expect(whepUrl(at.root, 'pgm')).toBe('https://crew.example/show7/pgm/whep');
    expect(socketUrl(at.root)).toBe('wss://crew.example/show7/ws/');
  });

  it('reads a page whose placeholders nobody filled in', () => {
    expect(site('http://localhost:5173/', '%ROOT%', '%STREAM%').stream).toBe('pgm');
  });

  it('knows live/pgm and pgm as one', () => {
    expect(site('http://box/live/pgm', '../', 'live/pgm').stream).toBe('pgm');
  });
});

describe('place', () => {
  const at = site('http://box:8889/', './', 'pgm');

  it('comes back from its own address unchanged', () => {
    for (const place of [
      { stream: 'pgm', camera: null, view: 'viewer' as const },
      { stream: 'pgm', camera: '무선 카메라 & 4?', view: 'lamp' as const },
      { stream: 'studio/a', camera: '{a-b}', view: 'director' as const },
    ]) {
      const url = placeUrl(at.root, place);
      const there = site(url, place.stream.includes('/') ? '../' : './', place.stream);
      expect(readPlace(url, there)).toEqual(place);
    }
  });

  it('ignores a view that there is not', () => {
    expect(readPlace('http://box:8889/?view=%00', at).view).toBe('viewer');
  });

  it('takes the address first, then what is remembered, then the default', () => {
    const remembered = memory({ camera: 'Cam 2', stream: 'clean' });
    expect(firstPlace('http://box:8889/?camera=Cam+1', at, remembered)).toEqual({
      stream: 'clean',
      camera: 'Cam 1',
      view: 'viewer',
    });
    const named = site('http://box:8889/pgm', './', 'pgm');
    expect(firstPlace('http://box:8889/pgm', named, remembered)).toEqual({
      stream: 'pgm',
      camera: 'Cam 2',
      view: 'viewer',
    });
    expect(firstPlace('http://box:8889/', at, memory()).stream).toBe('pgm');
  });
});

describe('sharedUrl', () => {
  const place = { stream: 'pgm', camera: 'Cam 1', view: 'lamp' as const };

  it('hands out the address that is open', () => {
    expect(sharedUrl('http://10.0.0.5:8889/', place, ['http://192.168.1.20:8889/'])).toBe(
      'http://10.0.0.5:8889/pgm?camera=Cam+1&view=lamp',
    );
  });

  it('hands out a real address of the box instead of localhost, where it knows one', () => {
    const pages = ['http://127.0.0.1:8889/', 'http://192.168.1.20:8889/'];
    expect(sharedUrl('http://localhost:8889/', place, pages)).toBe(
      'http://192.168.1.20:8889/pgm?camera=Cam+1&view=lamp',
    );
    expect(sharedUrl('http://localhost:8889/', place, ['no address'])).toContain('http://localhost:8889/');
  });
});
