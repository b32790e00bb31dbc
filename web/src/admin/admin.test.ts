import { describe, expect, it, vi } from 'vitest';
import { Api, Refused } from './api';

vi.stubGlobal('navigator', { languages: ['fr', 'ko-KR', 'en'] });
const { w } = await import('./words');

const asked: { url: string; init: RequestInit }[] = [];
const api = (answer: Response) =>
  new Api('http://box/studio/', async (url, init) => {
    asked.push({ url: String(url), init: init ?? {} });
    return answer;
  });

describe('Api', () => {
  it('shows the set-up code as people type it, and nothing that could be no header', async () => {
    await api(new Response('{}')).setPassword('correct horse', 'bkmqp–xrthw\n');
    const { url, init } = asked.at(-1) as (typeof asked)[0];
    expect(url).toBe('http://box/studio/api/v1/administrator/password');
    expect(init.headers).toEqual({ 'Content-Type': 'application/json', Authorization: 'Bearer bkmqpxrthw' });
    expect(init.body).toBe('{"password":"correct horse"}');
  });

  it('says why the box said no, and when to try again', async () => {
    const body = JSON.stringify({ code: 'locked_out', detail: 'wait' });
    const refused = api(new Response(body, { status: 429, headers: { 'Retry-After': '60' } })).signIn('x');
    await expect(refused).rejects.toEqual(new Refused('locked_out', 'wait', 60));
    const mute = api(new Response('<html>', { status: 502 })).links();
    await expect(mute).rejects.toMatchObject({ code: '', retryAfter: null });
    expect(await api(new Response(null, { status: 204 })).revoke('a/b')).toBeNull();
    expect(asked.at(-1)?.url).toBe('http://box/studio/api/v1/links/a%2Fb');
  });
});

describe('words', () => {
  it('tell what the box needs', () => {
    expect(w('memory', { used: 18, most: 510 })).toBe('메모리: 18 MB (한도 510 MB)');
  });

  it('speak the first language that there is', () => {
    expect(w('made', { name: '지미집' })).toBe('지미집의 링크입니다. 지금 한 번만 보입니다.');
  });
});
