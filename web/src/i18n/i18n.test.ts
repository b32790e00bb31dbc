import { describe, expect, it } from 'vitest';
import { en } from './en';
import { pickLanguage, translate } from './index';
import { ko } from './ko';

const placeholders = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();

describe('i18n', () => {
  it('takes the first language of the browser that it speaks', () => {
    expect(pickLanguage(['ko-KR', 'en-US'])).toBe('ko');
    expect(pickLanguage(['fr-FR', 'ko'])).toBe('ko');
    expect(pickLanguage(['en-GB', 'ko'])).toBe('en');
    expect(pickLanguage(['fr'])).toBe('en');
    expect(pickLanguage([])).toBe('en');
  });

  it('fills in values, and leaves alone what it has none for', () => {
    expect(translate('en', 'delay_ms', { ms: 31 })).toBe('31 ms');
    expect(translate('en', 'delay_ms')).toBe('{ms} ms');
  });

  it('has the same placeholders in both languages, and no empty text', () => {
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(placeholders(ko[key]), key).toEqual(placeholders(en[key]));
      expect(ko[key].trim(), key).not.toBe('');
      expect(en[key].trim(), key).not.toBe('');
    }
  });
});
