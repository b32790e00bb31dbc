/**
 * The page's address is its state: stream, camera and view, so that a link or QR code can be handed out. What was
 * chosen last is remembered for a page opened without saying. Owns the mapping both ways; views only call it.
 */

export type View = 'viewer' | 'lamp' | 'director';

export interface Place {
  /** `name` (of app `live`) or `app/name`. */
  stream: string;
  /** Camera name or input key; `null` when none is chosen. */
  camera: string | null;
  view: View;
}

export interface Site {
  /** Absolute URL of the site's root, ending in a slash. */
  root: string;
  /** The stream that the box serves at this address. */
  stream: string;
  /** Whether the address itself names a stream. */
  explicit: boolean;
}

/** `live/pgm` and `pgm` are the same stream; the short form is used. */
export function shortName(stream: string): string {
  return stream.replace(/^live\//, '');
}

/** Reads what the box wrote into the page: the way to the root, and the stream. */
export function site(href: string, rootMeta: string, streamMeta: string): Site {
  const filled = (value: string) => (value.startsWith('%') ? '' : value);
  const page = new URL(href);
  const root = new URL(filled(rootMeta) || './', page).href;
  const path = page.origin + page.pathname;
  const rest = path.startsWith(root) ? path.slice(root.length) : '';
  return {
    root,
    stream: shortName(filled(streamMeta) || decodeURIComponent(rest) || 'pgm'),
    explicit: rest !== '' && rest !== 'index.html',
  };
}

/** Where to read how this device gets HTTPS; `null` where it has it, or the box has none. */
export function trustUrl(root: string, trustMeta: string): string | null {
  return trustMeta && !trustMeta.startsWith('%') ? new URL(trustMeta, root).href : null;
}

export function readPlace(href: string, at: Site): Place {
  const query = new URL(href).searchParams;
  const view = query.get('view');
  return {
    stream: at.stream,
    camera: query.get('camera') || null,
    view: view === 'lamp' || view === 'director' ? view : 'viewer',
  };
}

/** The address that leads to a place, below any root (the box's own, or a proxy's). */
export function placeUrl(root: string, place: Place): string {
  const url = new URL(place.stream.split('/').map(encodeURIComponent).join('/'), root);
  if (place.camera !== null) url.searchParams.set('camera', place.camera);
  if (place.view !== 'viewer') url.searchParams.set('view', place.view);
  return url.href;
}

export function whepUrl(root: string, stream: string): string {
  return `${placeUrl(root, { stream, camera: null, view: 'viewer' })}/whep`;
}

export function socketUrl(root: string): string {
  return new URL('ws/', root).href.replace(/^http/, 'ws');
}

/**
 * The address to hand out. A page opened as `localhost` on the box itself leads nowhere on a phone, so one of the
 * box's real addresses takes its place.
 */
export function sharedUrl(root: string, place: Place, boxPages: string[]): string {
  const host = new URL(root).hostname;
  const local = host === 'localhost' || host === '[::1]' || host.startsWith('127.');
  const real = local ? boxPages.find((page) => !/\/\/(localhost|127\.|\[::1\])/.test(page)) : undefined;
  try {
    return placeUrl(real ?? root, place);
  } catch {
    return placeUrl(root, place);
  }
}

export interface Memory {
  get(key: string): string | null;
  set(key: string, value: string | null): void;
}

/** localStorage, which private modes and full disks make throw: then nothing is remembered. */
export const browserMemory: Memory = {
  get(key) {
    try {
      return localStorage.getItem(`returnfeed.${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(`returnfeed.${key}`);
      else localStorage.setItem(`returnfeed.${key}`, value);
    } catch {
      // Forgetting is all that happens.
    }
  },
};

/** Where to begin: what the address says, then what is remembered, then the box's default. */
export function firstPlace(href: string, at: Site, memory: Memory): Place {
  const place = readPlace(href, at);
  return {
    ...place,
    stream: at.explicit ? place.stream : (memory.get('stream') ?? place.stream),
    camera: place.camera ?? memory.get('camera'),
  };
}
