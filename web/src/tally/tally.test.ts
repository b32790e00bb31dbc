import { describe, expect, it } from 'vitest';
import type { Tally, TallyMessage } from '../wire';
import { choices, chosen, directorChoices, isLiveKind } from './tally';

const input = (number: number, title: string, kind: string, tally: Tally) => ({
  number,
  key: `key-${number}`,
  title,
  kind,
  tally,
});

const MESSAGE: TallyMessage = {
  type: 'tally',
  seq: 1,
  source: 'live',
  age_ms: 0,
  inputs: [
    input(1, 'Opening', 'Video', 'safe'),
    input(2, 'CAM 1', 'Capture', 'program'),
    input(3, 'Wireless', 'NDI', 'preview'),
    input(4, 'Title', 'GT', 'safe'),
    input(5, 'Remote', 'SRT', 'safe'),
  ],
  cameras: [{ name: 'Handheld', inputs: [2, 4], tally: 'program' }],
  show: { streaming: false, recording: false, external: false, fade_to_black: false },
};

describe('choices', () => {
  it('lists cameras first, then camera-type inputs, then the others', () => {
    expect(choices(MESSAGE, 'live').map(({ name }) => name)).toEqual([
      'Handheld',
      'CAM 1',
      'Wireless',
      'Remote',
      'Opening',
      'Title',
    ]);
  });

  it('says unknown of all of them unless the link is live and vMix is heard', () => {
    for (const state of ['connecting', 'silent', 'waking', 'down'] as const) {
      expect(new Set(choices(MESSAGE, state).map(({ tally }) => tally))).toEqual(new Set(['unknown']));
    }
    const lost: TallyMessage = { ...MESSAGE, source: 'unknown' };
    expect(new Set(choices(lost, 'live').map(({ tally }) => tally))).toEqual(new Set(['unknown']));
  });

  it('knows the kinds that carry a live camera', () => {
    for (const kind of ['Capture', 'NDI', 'SRT', 'VideoCall', 'Video Call', 'Stream', 'OMT']) {
      expect(isLiveKind(kind), kind).toBe(true);
    }
    for (const kind of [
      'Video',
      'VideoList',
      'Image',
      'GT',
      'Xaml',
      'Colour',
      'Audio',
      'Mix',
      'Replay',
      '',
    ]) {
      expect(isLiveKind(kind), kind).toBe(false);
    }
  });
});

describe('chosen', () => {
  it('finds a camera by name, and an input by key, number or title', () => {
    expect(chosen('Handheld', MESSAGE, 'live')).toEqual({ tally: 'program', name: 'Handheld', found: true });
    expect(chosen('key-3', MESSAGE, 'live').tally).toBe('preview');
    expect(chosen('3', MESSAGE, 'live').tally).toBe('preview');
    expect(chosen('wireless', MESSAGE, 'live')).toEqual({ tally: 'preview', name: 'Wireless', found: true });
  });

  it('says unknown, never safe, of a camera that is not there', () => {
    expect(chosen('Drone', MESSAGE, 'live')).toEqual({ tally: 'unknown', name: 'Drone', found: false });
  });

  it('does not call a camera missing while it cannot know', () => {
    expect(chosen('Drone', null, 'connecting').found).toBe(true);
    expect(chosen('Drone', MESSAGE, 'down').found).toBe(true);
  });

  it('follows a camera by key when vMix renumbers its inputs', () => {
    const moved: TallyMessage = {
      ...MESSAGE,
      inputs: MESSAGE.inputs.map((one) => ({ ...one, number: one.number + 1 })),
    };
    expect(chosen('key-2', moved, 'live').tally).toBe('program');
  });

  it('shows nothing where no camera is chosen, but no less honestly when tally is lost', () => {
    expect(chosen(null, MESSAGE, 'live').tally).toBe('none');
    expect(chosen(null, MESSAGE, 'silent').tally).toBe('unknown');
    expect(chosen(null, null, 'connecting').tally).toBe('unknown');
  });
});

describe('directorChoices', () => {
  it('watches the cameras of the settings, else the camera-type inputs, else everything', () => {
    expect(directorChoices(choices(MESSAGE, 'live')).map(({ name }) => name)).toEqual(['Handheld']);
    const bare: TallyMessage = { ...MESSAGE, cameras: [] };
    expect(directorChoices(choices(bare, 'live')).map(({ name }) => name)).toEqual([
      'CAM 1',
      'Wireless',
      'Remote',
    ]);
    const clips: TallyMessage = { ...bare, inputs: bare.inputs.filter(({ kind }) => kind === 'Video') };
    expect(directorChoices(choices(clips, 'live')).map(({ name }) => name)).toEqual(['Opening']);
  });
});
