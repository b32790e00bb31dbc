// @vitest-environment happy-dom
// @vitest-environment-options { "url": "http://192.168.1.20:8889/pgm?camera=Handheld" }
import { render } from 'preact';
import { act } from 'preact/test-utils';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Memory, site } from '../address';
import { App } from '../app';
import { en } from '../i18n/en';
import { ko } from '../i18n/ko';
import { Store } from '../store';
import type { HelloMessage, Stream, Tally, TallyMessage } from '../wire';
import { emsOf } from './lamp';
import { Page } from './page';
import { BOX_CODES, entriesFor, hostAndPort, problemKey } from './setup';
import { qrPath } from './share';

const tally = (cam: Tally, source: 'live' | 'unknown' = 'live'): TallyMessage => ({
  type: 'tally',
  seq: 1,
  source,
  age_ms: 0,
  inputs: [
    { number: 1, key: 'k1', title: 'Opening', kind: 'Video', tally: 'safe' },
    { number: 2, key: 'k2', title: 'CAM 1', kind: 'Capture', tally: cam },
  ],
  cameras: [
    { name: 'Handheld', inputs: [2], tally: cam },
    { name: 'Jib', inputs: [1], tally: 'safe' },
  ],
  show: { streaming: false, recording: true, external: false, fade_to_black: true },
});

const STREAM: Stream = {
  name: 'live/pgm',
  live: true,
  codec: 'H.264',
  width: 1280,
  height: 720,
  fps: 30,
  sound: { codec: 'AAC', channels: 2, sample_rate_hz: 48_000 },
  playable: true,
  problem: null,
  viewers: 1,
};

const HELLO: HelloMessage = {
  type: 'hello',
  version: '0.1.0',
  now_ms: 0,
  streams: [STREAM],
  listen: {
    srt: [
      { url: 'srt://192.168.1.20:8890', stream_id: 'pgm' },
      { url: 'srt://[fd00::20]:8890', stream_id: 'pgm' },
    ],
    latency_ms: 120,
    page: ['http://192.168.1.20:8889/'],
  },
};

const MEDIA = new MediaStream();

let app: App;
let barred: Store<boolean>;
let root: HTMLElement;
let stored: Record<string, string | null>;
const memory: Memory = {
  get: (key) => stored[key] ?? null,
  set: (key, value) => {
    stored[key] = value;
  },
};

const find = (selector: string): HTMLElement => {
  const found = root.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`no ${selector} on the page`);
  return found;
};
const text = (selector: string) => find(selector).textContent?.trim();
const set = (change: () => void) => act(change);
const click = (selector: string) => act(() => find(selector).click());

beforeEach(async () => {
  stored = {};
  barred = new Store(false);
  history.replaceState(null, '', '/pgm?camera=Handheld');
  root = document.createElement('div');
  document.body.append(root);
  app = new App(site(location.href, './', 'pgm'), memory);
  await act(() => render(<Page app={app} door={{ barred }} />, root));
});

afterEach(() => {
  render(null, root);
  root.remove();
});

async function hear(cam: Tally): Promise<void> {
  await set(() => {
    app.link.tally.set(tally(cam));
    app.link.state.set('live');
  });
}

describe('the tally', () => {
  it('is unknown until the box has spoken', () => {
    expect(find('.tally-frame').dataset.tally).toBe('unknown');
    expect(text('.word')).toBe('NO TALLY');
  });

  it.each([
    ['program', 'ON AIR'],
    ['preview', 'NEXT'],
    ['safe', '–'],
    ['unknown', 'NO TALLY'],
  ] as const)('of a camera in %s is a word, a frame, a lit mark and a sentence', async (state, word) => {
    await hear(state);
    expect(text('.tally-word .word')).toBe(word);
    expect(find('.tally-frame').dataset.tally).toBe(state);
    expect(root.querySelectorAll('.tally-word .mark.lit').length).toBe(state === 'unknown' ? 0 : 1);
    expect(text('[aria-live]')).toContain('Handheld');
  });

  it.each(['silent', 'waking', 'down'] as const)('is unknown as soon as the link is %s', async (state) => {
    await hear('program');
    await set(() => app.link.state.set(state));
    expect(text('.word')).toBe('NO TALLY');
    expect(find('#link').dataset.health).not.toBe('good');
    expect(root.querySelector('.flag')).toBeNull();
  });

  it('is unknown, and says why, when the box does not reach vMix', async () => {
    await hear('program');
    await set(() => app.link.tally.set(tally('program', 'unknown')));
    expect(text('.word')).toBe('NO TALLY');
    expect(text('#link')).toContain('vMix not reached');
  });

  it('shows what vMix does with the programme', async () => {
    await hear('safe');
    expect([...root.querySelectorAll('.flag')].map((flag) => flag.textContent)).toEqual(['FTB', 'REC']);
  });
});

describe('choosing', () => {
  it('lists cameras first, and puts the choice into the address and the memory', async () => {
    await hear('program');
    await click('#choose');
    expect([...root.querySelectorAll('.choice-name')].map((name) => name.textContent)).toEqual([
      'Handheld',
      'Jib',
      'CAM 1',
      'Opening',
    ]);
    await act(() => root.querySelectorAll<HTMLElement>('.choice')[1]?.click());
    expect(location.search).toBe('?camera=Jib');
    expect(stored.camera).toBe('Jib');
    expect(text('.word')).toBe('–');
    expect(root.querySelector('[role=dialog]')).toBeNull();
  });

  it('says so when vMix has no such camera', async () => {
    await hear('safe');
    await set(() => app.go({ camera: 'Drone' }));
    expect(text('.word')).toBe('NO TALLY');
    expect(text('.who-note')).toContain('no such input');
  });

  it('shows no frame where no camera is chosen, and asks for one', async () => {
    await hear('program');
    await set(() => app.go({ camera: null }));
    expect(text('#choose')).toBe('Choose camera');
    expect(find('.tally-frame').dataset.tally).toBe('none');
  });

  it('closes a panel by Escape', async () => {
    await click('#share');
    expect(find('[role=dialog]')).toBeTruthy();
    await act(() => {
      dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
    });
    expect(root.querySelector('[role=dialog]')).toBeNull();
  });
});

describe('other views', () => {
  it('fills the screen with the lamp, and asks for no picture there', async () => {
    await hear('program');
    await click('#view-lamp');
    expect(find('#lamp').dataset.tally).toBe('program');
    expect(text('.lamp-word')).toBe('ON AIR');
    expect(root.querySelector('video')).toBeNull();
    expect(location.search).toBe('?camera=Handheld&view=lamp');
  });

  it('shows all cameras to the director', async () => {
    await hear('preview');
    await click('#view-director');
    const tiles = [...root.querySelectorAll<HTMLElement>('.tile')];
    expect(tiles.map(({ dataset }) => [dataset.camera, dataset.tally])).toEqual([
      ['Handheld', 'preview'],
      ['Jib', 'safe'],
    ]);
    await set(() => app.link.state.set('silent'));
    expect(tiles.every(({ dataset }) => dataset.tally === 'unknown')).toBe(true);
  });

  it('hands out the address as text and as a QR code', async () => {
    await set(() => app.link.hello.set(HELLO));
    await click('#share');
    expect((find('#share-url') as HTMLInputElement).value).toBe(
      'http://192.168.1.20:8889/pgm?camera=Handheld',
    );
    expect(find('.qr path').getAttribute('d')?.length).toBeGreaterThan(200);
  });

  it('opens the details', async () => {
    await set(() => app.link.hello.set(HELLO));
    await click('#details');
    expect(text('[role=dialog]')).toContain('ReturnFeed 0.1.0');
  });
});

describe('without a picture', () => {
  it('says what to enter in vMix, in the real addresses of the box', async () => {
    await set(() => {
      app.link.hello.set(HELLO);
      app.link.streams.set([{ ...STREAM, live: false }]);
      app.player.get().status.set({ state: 'waiting', reason: 'not_live', detail: null });
    });
    const rows = Object.fromEntries(
      [...root.querySelectorAll('#setup dl > div')].map((row) => [
        row.querySelector('dt')?.textContent,
        row.querySelector('dd')?.textContent,
      ]),
    );
    expect(rows).toMatchObject({
      Type: 'Caller',
      Hostname: '192.168.1.20',
      Port: '8890',
      'Stream ID': 'pgm',
      Latency: '120 ms',
      'Keyframe interval': '1 second',
      'B-frames': 'off (0)',
    });
    expect(text('#setup')).toContain('fd00::20');
    expect(text('#picture')).toContain('no source');
  });

  it('says what to change when the source sends B-frames', async () => {
    const problem = { code: 'b_frames', text: 'The box says so.' };
    await set(() => {
      app.link.streams.set([{ ...STREAM, playable: false, problem }]);
      app.player.get().status.set({ state: 'refused', reason: 'b_frames', detail: null });
    });
    expect(find('#problem').dataset.code).toBe('b_frames');
    expect(text('#problem')).toMatch(/B-frames to 0/);
    expect(text('#problem')).toContain('The box says so.');
  });

  it('has words of its own in each language for every code that the box can send', () => {
    for (const code of BOX_CODES) {
      const key = problemKey(code);
      expect(key, code).not.toBeNull();
      if (key) expect(ko[key], code).not.toBe(en[key]);
    }
    expect(problemKey('new_code')).toBeNull();
    expect(problemKey('constructor')).toBeNull();
  });

  it.each(['pin_needed', 'link_needed', 'link_ended'])(
    'blames a proxy for %s only once it is known to keep the page from asking',
    async (reason) => {
      await set(() => app.player.get().status.set({ state: 'refused', reason, detail: 'Said the box.' }));
      expect(root.querySelector('#problem')).toBeNull();
      await set(() => barred.set(true));
      expect(text('#problem')).toMatch(/proxy/);
      await set(() => barred.set(false));
      expect(root.querySelector('#problem')).toBeNull();
    },
  );

  it('tells of a full box', async () => {
    await set(() => app.player.get().status.set({ state: 'refused', reason: 'full', detail: 'Full.' }));
    expect(text('#problem')).toContain('as many viewers');
  });

  it('says that it waits, also once there are tracks, until the first frame', async () => {
    const player = app.player.get();
    await set(() => {
      player.media.set(MEDIA);
      player.status.set({ state: 'joining', reason: null, detail: null });
    });
    expect(text('.note')).toBe('Waiting for the picture…');
    expect(root.querySelector('.picture.old')).toBeNull();
    await set(() => player.blockedPort.set('8189'));
    expect(text('.note')).toMatch(/no video arrives.*UDP and TCP port 8189/);
    await set(() => player.status.set({ state: 'lost', reason: null, detail: null }));
    expect(text('.note')).toMatch(/UDP and TCP port 8189/);
    await set(() => {
      player.seen.set(true);
      player.status.set({ state: 'playing', reason: null, detail: null });
    });
    expect(root.querySelector('.note')).toBeNull();
  });

  it.each(['lost', 'joining', 'paused'] as const)('calls the last picture old while %s', async (state) => {
    const player = app.player.get();
    await set(() => {
      app.link.streams.set([STREAM]);
      player.media.set(MEDIA);
      player.seen.set(true);
      player.status.set({ state, reason: null, detail: null });
    });
    expect(root.querySelector('.picture.old')).not.toBeNull();
    expect(text('.note.warn')).toMatch(/old|stands still/);
  });

  it('offers no sound where the session carries none', async () => {
    expect(root.querySelector('#sound')).toBeNull();
    expect(root.querySelector('#level')).toBeNull();
  });

  it('shows the words of the box for a problem that it has no text for', async () => {
    await set(() =>
      app.player.get().status.set({ state: 'refused', reason: 'new_code', detail: 'Turn it off and on.' }),
    );
    expect(text('#problem')).toContain('Turn it off and on.');
  });
});

describe('the sound', () => {
  const hearing = () =>
    set(() => {
      app.sound.setStream(MEDIA);
      app.player.get().sound.set(MEDIA);
    });

  it('is off until a tap, and says so where it can be tapped', async () => {
    await hearing();
    expect(text('#level')).toBe('Tap for sound');
    expect(find('#sound').getAttribute('aria-label')).toBe('Turn sound on');
    expect(root.querySelector('audio')?.muted).toBe(true);
    await click('#level');
    expect(find('#level').dataset.sound).toBe('playing');
    expect(root.querySelector('audio')?.muted).toBe(false);
    expect(root.querySelectorAll('#level .bars i').length).toBe(2);
    expect(stored.sound).toBe('on');
  });

  it('is muted by one more tap, and does not ask again then', async () => {
    await hearing();
    await click('#sound');
    await click('#sound');
    expect(text('#level')).toBe('Muted');
    expect(find('#level').getAttribute('aria-label')).toBe('Sound: Muted');
    expect(root.querySelector('.inviting')).toBeNull();
    expect(stored.sound).toBe('off');
    await click('#level');
    expect(stored.sound).toBe('off');
    expect(text('#mute')).toContain('Turn sound on');
    await click('#mute');
    expect(find('#level').dataset.sound).toBe('playing');
    expect(find('#level').getAttribute('aria-label')).toBe('Sound: on');
  });

  it('says calmly that the source has none', async () => {
    await hearing();
    await set(() => app.sound.sourceHas(false));
    expect(text('#level')).toBe('No sound');
    expect(root.querySelector('#sound')).toBeNull();
    await click('#level');
    expect(text('#sound-state')).toBe('The source sends no sound.');
    expect(root.querySelector('#mute')).toBeNull();
  });

  it('asks plainly for a tap where the browser insists on one', async () => {
    await hearing();
    await set(() => app.sound.state.set('blocked'));
    expect(find('#level').classList.contains('inviting')).toBe(true);
    expect(text('#level')).toBe('Tap for sound');
  });

  it('has volume and lip sync in a panel of its own', async () => {
    await hearing();
    await click('#level');
    await click('#level');
    const volume = find('#volume') as HTMLInputElement;
    expect(volume.value).toBe('100');
    expect(volume.getAttribute('aria-valuetext')).toBe('100 %');
    expect(find('#lip-sync').getAttribute('aria-pressed')).toBe('false');
    await click('#lip-sync');
    expect(stored.lip_sync).toBe('on');
    await set(() => app.player.get().inSync.set(true));
    expect(find('#lip-sync').getAttribute('aria-pressed')).toBe('true');
    await set(() => app.sound.hasVolume.set(false));
    expect(root.querySelector('#volume')).toBeNull();
    expect(text('[role=dialog]')).toContain('buttons of this device');
  });
});

describe('a picture that joins', () => {
  it('is hidden until it is of the present', async () => {
    const player = app.player.get();
    await set(() => player.media.set(MEDIA));
    expect(root.querySelector('video.hidden')).not.toBeNull();
    await set(() => player.seen.set(true));
    expect(root.querySelector('video.hidden')).toBeNull();
  });

  it('says that it is catching up', async () => {
    const player = app.player.get();
    await set(() => {
      player.media.set(MEDIA);
      player.seen.set(true);
      player.catchingUp.set(true);
      player.status.set({ state: 'joining', reason: null, detail: null });
    });
    expect(text('#delay')).toBe('Delay – ms · catching up…');
    expect(text('.note')).toContain('was late');
    expect(root.querySelector('.picture.old')).toBeNull();
  });
});

describe('a picture that stays late', () => {
  it('has its figure in the colour of a warning', async () => {
    await set(() => app.player.get().late.set(true));
    expect(text('#delay')).toBe('Delay – ms');
    expect(find('#delay').classList.contains('bad')).toBe(true);
    expect(find('#delay').dataset.health).toBe('bad');
  });
});

describe('a phone that will go to sleep', () => {
  it('is told so once, where the browser keeps no screen on', async () => {
    await hear('safe');
    expect(root.querySelector('#sleep-hint')).toBeNull();
    await set(() => app.sleepHint.set(true));
    expect(text('#sleep-hint')).toContain('may go to sleep');
    await click('#sleep-hint');
    expect(root.querySelector('#sleep-hint')).toBeNull();
    expect(stored.sleep_hint).toBe('seen');
    await click('#view-director');
    expect(root.querySelector('#sleep-hint')).toBeNull();
  });
});

describe('a page over plain HTTP', () => {
  it('says where to read about HTTPS only where the box has it', async () => {
    await click('#details');
    expect(root.querySelector('.trust')).toBeNull();
    await click('.panel header button');
    Object.assign(app, { trust: 'http://192.168.1.20:8889/trust' });
    await click('#details');
    expect(find('.trust').getAttribute('href')).toBe('http://192.168.1.20:8889/trust');
  });
});

describe('parts', () => {
  it('takes host and port out of SRT addresses', () => {
    expect(hostAndPort('srt://box.local:8890?x=1')).toEqual({ host: 'box.local', port: '8890' });
    expect(hostAndPort('srt://[fe80::1]:9')).toEqual({ host: 'fe80::1', port: '9' });
    expect(hostAndPort('nonsense')).toBeNull();
    expect(entriesFor(HELLO.listen, 'studio/a')[0]?.id).toBe('studio/a');
  });

  it('draws a QR code in runs', () => {
    const { path, size } = qrPath('http://192.168.1.20:8889/pgm');
    expect(size).toBeGreaterThanOrEqual(21);
    expect(path).toMatch(/^M0 0h7v1H0z/);
  });

  it('knows that Hangul is wider than capitals', () => {
    expect(emsOf('온에어')).toBeGreaterThan(emsOf('AIR'));
  });
});
