/** The administrator's page in the user's language. Apart from the viewers' words: their page does not carry these. */
const en = {
  title: 'Administrator',
  first:
    'Choose a password. The set-up code is in returnfeed-setup.txt on the card of the box; without a card, in the file that the log names at the start.',
  code: 'Set-up code',
  password: 'Password',
  new_password: 'New password, 10 characters or more',
  set: 'Set password',
  sign_in: 'Sign in',
  sign_out: 'Sign out',
  forgotten: 'Forgotten? Set a new one with the set-up code',
  plain: 'This connection is not encrypted: whoever can listen on the network can read what you type.',
  https_needed: 'The box is administered over HTTPS only: open this page with https://',
  https_off:
    'The box is administered over HTTPS only, and there is none at present: the status says why. [access] administration = "lan" in the settings allows plain HTTP.',
  not_from_here: 'The settings do not allow administration from your address.',
  state: 'State of the box',
  memory: 'Memory: {used} of {most} MB at most',
  connections: 'Connections: {now} of {most} at most',
  links: 'Links',
  links_help:
    'Each person gets a link of their own. Whoever has it can watch, from anywhere, until you revoke it.',
  name: 'Whose',
  role: 'May',
  viewer: 'watch',
  director: 'watch and see the state of the box',
  ends: 'Holds',
  ever: 'until revoked',
  hours: '{n} h',
  days: '{n} days',
  left: '{t} left',
  make: 'Make a link',
  made: 'The link of {name}. It is shown this once.',
  revoke: 'Revoke',
  copy: 'Copy',
  none: 'There are no links.',
  locked: 'Too many wrong attempts. Try again in {s} s.',
  failed: 'The box does not answer. Try again.',
};

const ko: typeof en = {
  title: '관리자',
  first:
    '암호를 정하세요. 설정 코드는 박스 카드의 returnfeed-setup.txt에, 카드가 없으면 시작할 때 로그가 알리는 파일에 있습니다.',
  code: '설정 코드',
  password: '암호',
  new_password: '새 암호 (10자 이상)',
  set: '암호 정하기',
  sign_in: '로그인',
  sign_out: '로그아웃',
  forgotten: '잊으셨나요? 설정 코드로 새로 정하세요',
  plain: '이 연결은 암호화되지 않았습니다. 네트워크를 엿들을 수 있는 사람은 입력한 것을 읽을 수 있습니다.',
  https_needed: '박스 관리는 HTTPS로만 할 수 있습니다. 이 페이지를 https://로 여세요.',
  https_off:
    '박스 관리는 HTTPS로만 할 수 있는데 지금 HTTPS가 없습니다. 이유는 상태에 있습니다. 설정의 [access] administration = "lan"은 HTTP를 허용합니다.',
  not_from_here: '설정에 따라 이 주소에서는 관리할 수 없습니다.',
  state: '박스 상태',
  memory: '메모리: {used} MB (한도 {most} MB)',
  connections: '연결: {now}개 (한도 {most}개)',
  links: '링크',
  links_help: '사람마다 자기 링크를 줍니다. 링크를 가진 사람은 취소할 때까지 어디서나 볼 수 있습니다.',
  name: '누구',
  role: '권한',
  viewer: '보기',
  director: '보기와 박스 상태',
  ends: '기간',
  ever: '취소할 때까지',
  hours: '{n}시간',
  days: '{n}일',
  left: '{t} 남음',
  make: '링크 만들기',
  made: '{name}의 링크입니다. 지금 한 번만 보입니다.',
  revoke: '취소',
  copy: '복사',
  none: '링크가 없습니다.',
  locked: '틀린 시도가 너무 많습니다. {s}초 뒤에 다시 시도하세요.',
  failed: '박스가 응답하지 않습니다. 다시 시도하세요.',
};

export type Word = keyof typeof en;
export const language = navigator.languages.find((tag) => /^(ko|en)\b/i.test(tag))?.startsWith('ko')
  ? 'ko'
  : 'en';

export const w = (word: Word, values: Record<string, string | number> = {}): string =>
  (language === 'ko' ? ko : en)[word].replace(/\{(\w+)\}/g, (whole, name: string) =>
    String(values[name] ?? whole),
  );
