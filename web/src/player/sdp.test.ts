import { describe, expect, it } from 'vitest';
import { amend, isInSync } from './sdp';

const lines = (...of: string[]) => of.map((line) => `${line}\r\n`).join('');

describe('amend', () => {
  it('says that both channels are taken, once', () => {
    const offer = lines(
      'm=audio 9 UDP/TLS/RTP/SAVPF 111 63 9',
      'a=rtpmap:111 opus/48000/2',
      'a=fmtp:111 minptime=10;useinbandfec=1',
      'a=rtpmap:63 red/48000/2',
      'a=fmtp:63 111/111',
    );
    const wanted = amend(offer);
    expect(wanted).toBe(offer.replace('useinbandfec=1', 'useinbandfec=1;stereo=1'));
    expect(amend(wanted)).toBe(wanted);
  });

  it('does not take what is sent for what is received', () => {
    const offer = lines('a=rtpmap:96 opus/48000/2', 'a=fmtp:96 sprop-stereo=1');
    expect(amend(offer)).toContain('a=fmtp:96 sprop-stereo=1;stereo=1\r\n');
    const said = lines('a=rtpmap:96 opus/48000/2', 'a=fmtp:96 maxplaybackrate=48000;stereo=1');
    expect(amend(said)).toBe(said);
  });

  it('makes the line where there is none', () => {
    expect(amend(lines('a=rtpmap:109 OPUS/48000/2', 'a=mid:1'))).toBe(
      lines('a=rtpmap:109 OPUS/48000/2', 'a=fmtp:109 stereo=1', 'a=mid:1'),
    );
  });

  it('asks for round trips with each payload type of H.264, once', () => {
    const offer = lines(
      'm=video 9 UDP/TLS/RTP/SAVPF 96 102 103 109',
      'a=rtpmap:96 VP8/90000',
      'a=rtcp-fb:96 nack',
      'a=rtpmap:102 H264/90000',
      'a=rtcp-fb:102 nack pli',
      'a=rtpmap:103 rtx/90000',
      'a=rtpmap:109 h264/90000',
    );
    const wanted = amend(offer);
    expect(wanted).toBe(
      offer
        .replace('102 H264/90000\r\n', '102 H264/90000\r\na=rtcp-fb:102 rrtr\r\n')
        .replace('109 h264/90000\r\n', '109 h264/90000\r\na=rtcp-fb:109 rrtr\r\n'),
    );
    expect(amend(wanted)).toBe(wanted);
    const all = lines('a=rtpmap:102 H264/90000', 'a=rtcp-fb:* rrtr');
    expect(amend(all)).toBe(all);
  });

  it('leaves alone what has neither', () => {
    expect(amend('v=0 offer')).toBe('v=0 offer');
  });
});

const answer = (video: string, audio: string) =>
  lines(
    'v=0',
    'a=msid-semantic: WMS *',
    'm=video 9 UDP/TLS/RTP/SAVPF 102',
    'a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01',
    `a=msid:${video} v`,
    `a=ssrc:1 msid:${video} v`,
    'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    `a=msid:${audio} a`,
    `a=ssrc:2 msid:${audio} a`,
  );

describe('isInSync', () => {
  it('is true where both are in one media stream', () => {
    expect(isInSync(answer('p', 'p'))).toBe(true);
    expect(isInSync(answer('p', 's'))).toBe(false);
    expect(isInSync(answer('p', 'pp'))).toBe(false);
  });

  it('is false where the sound is refused, or there is no such answer', () => {
    expect(isInSync(lines('m=video 9 X 102', 'a=msid:p v', 'm=audio 0 X 111', 'a=inactive'))).toBe(false);
    expect(isInSync(lines('m=audio 0 X 111', 'm=video 9 X 102', 'a=msid:p v'))).toBe(false);
    expect(isInSync('v=0 answer')).toBe(false);
  });
});
