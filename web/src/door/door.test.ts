import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LinkState } from '../link/link';
import { Store } from '../store';
import { Door } from './door';

const ROOT = 'http://192.168.1.20:8889/studio/';
let answers: Response[];
let asked: { url: string; init: RequestInit | undefined }[];
let reloads: number;
let now: number;

const json = (body: object, init?: ResponseInit) => new Response(JSON.stringify(body), init);
const door = (hash = '') =>
  new Door(ROOT, hash, {
    fetch: async (url, init) => {
      asked.push({ url, init });
      const answer = answers.shift();
      if (!answer) throw new TypeError('no network');
      return answer;
    },
    now: () => now,
    reload: () => {
      reloads += 1;
    },
  });

beforeEach(() => {
  vi.useFakeTimers();
  [answers, asked, reloads, now] = [[], [], 0, 10_000];
});
afterEach(() => vi.useRealTimers());

describe('Door', () => {
  it('stays out of the way of who may watch, and where nobody answers', async () => {
    for (const answer of [json({ role: 'viewer', pin: true }), json({}, { status: 404 }), undefined]) {
      answers = answer ? [answer] : [];
      const one = door();
      await one.check();
      expect(one.closed.get()).toBeNull();
    }
    expect(asked[0]?.url).toBe(`${ROOT}api/v1/session`);
    expect(reloads).toBe(0);
  });

  it('is barred where something else answers in the place of the box, and not before that is known', async () => {
    const one = door();
    const ask = async (...given: Response[]) => {
      answers = given;
      now += 1000;
      await one.check();
      return one.barred.get();
    };
    answers = [json({}, { status: 404 })];
    const asking = one.check();
    expect(one.barred.get(), 'no answer yet').toBe(false);
    await asking;
    expect(one.barred.get()).toBe(true);
    expect(await ask(json({ role: 'viewer', pin: true }))).toBe(false);
    expect(await ask(), 'no network').toBe(false);
    expect(await ask(new Response('<h1>Studio</h1>')), "a proxy's own page").toBe(true);
    expect(await ask(json({ role: 'anyone', pin: true }))).toBe(false);
    expect(await ask(new Response('<h1>Studio</h1>'))).toBe(true);
    expect([one.closed.get(), reloads], 'a proxy lets nobody in').toEqual([{ pin: true, ended: false }, 0]);
  });

  it('asks while the link is down, again and again, until it is known what is the matter', async () => {
    const link = new Store<LinkState>('connecting');
    const one = door();
    one.follow(link);
    const pass = async (ms: number) => {
      now += ms;
      await vi.advanceTimersByTimeAsync(ms);
      return asked.length;
    };
    expect(await pass(5000), 'nothing to ask yet').toBe(0);
    link.set('down');
    expect(asked.length, 'at once').toBe(1);
    answers = [json({ role: 'anyone', pin: true })];
    expect(await pass(5000), 'the box is back').toBe(2);
    expect(one.closed.get()).toEqual({ pin: true, ended: false });
    link.set('live');
    answers = [json({ role: 'viewer' })];
    await pass(5000);
    expect(reloads).toBe(1);
  });

  it('says what would open it, and begins anew when the box has let the page in', async () => {
    answers = [
      json({ role: 'anyone', pin: true }),
      json({ role: 'anyone', pin: false }),
      json({ role: 'viewer' }),
    ];
    const one = door('#link-ended');
    await one.check();
    expect(one.closed.get()).toEqual({ pin: true, ended: true });
    await one.check();
    expect(asked.length, 'not that often').toBe(1);
    now += 5000;
    await vi.advanceTimersByTimeAsync(5000);
    expect(one.closed.get()?.pin).toBe(false);
    now += 5000;
    await vi.advanceTimersByTimeAsync(5000);
    expect(reloads).toBe(1);
  });

  it('tells a wrong PIN from a lock-out and from no answer', async () => {
    const one = door();
    answers = [json({}, { status: 401 }), json({}, { status: 429, headers: { 'Retry-After': '60' } })];
    await one.enter('000001');
    expect(one.trouble.get()).toEqual({ kind: 'wrong' });
    await one.enter('000002');
    expect(one.trouble.get()).toEqual({ kind: 'locked', until: 70_000 });
    await one.enter('000003');
    expect(one.trouble.get()).toEqual({ kind: 'failed' });
    expect(reloads).toBe(0);
    answers = [json({ role: 'viewer' })];
    await one.enter('482915');
    expect(reloads).toBe(1);
    expect(asked.at(-1)?.init?.body).toBe('{"pin":"482915"}');
  });
});
