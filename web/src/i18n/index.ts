/** The page's words by the browser's languages. A key that is missing in a language does not compile. */
import { en } from './en';
import { ko } from './ko';

export type Key = keyof typeof en;
export type Messages = Record<Key, string>;
export type Language = 'en' | 'ko';

const LANGUAGES: Record<Language, Messages> = { en, ko };

/** The first of the user's languages that the page speaks; English otherwise. */
export function pickLanguage(preferred: readonly string[]): Language {
  for (const tag of preferred) {
    const primary = tag.toLowerCase().split('-')[0];
    if (primary === 'ko' || primary === 'en') return primary;
  }
  return 'en';
}

/** Fills `{name}` in a text. */
export function translate(
  language: Language,
  key: Key,
  values: Record<string, string | number> = {},
): string {
  return LANGUAGES[language][key].replace(/\{(\w+)\}/g, (whole, name: string) =>
    String(values[name] ?? whole),
  );
}

export const language: Language = pickLanguage(
  typeof navigator === 'undefined' ? [] : (navigator.languages ?? [navigator.language]),
);

export const t = (key: Key, values?: Record<string, string | number>): string =>
  translate(language, key, values);
