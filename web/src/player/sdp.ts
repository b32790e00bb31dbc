/** The few lines of offers and answers that the page has to do with. Pure; whatever it does not know it leaves alone. */

/** The browser's offer, with what the page wishes for beyond it. */
export const amend = (offer: string): string => wantRoundTrips(wantStereo(offer));

/** Asks for both channels: browsers make mono of Opus unless their own offer says that they take stereo (RFC 7587 §6.1). */
function wantStereo(offer: string): string {
  let sdp = offer;
  for (const [line, type] of offer.matchAll(/^a=rtpmap:(\d+) opus\/48000\/2\r?$/gim)) {
    const fmtp = new RegExp(`^a=fmtp:${type} .*$`, 'm').exec(sdp)?.[0].trimEnd();
    if (fmtp === undefined) sdp = sdp.replace(line, `${line.trimEnd()}\r\na=fmtp:${type} stereo=1\r`);
    else if (!/[ ;]stereo=/.test(fmtp)) sdp = sdp.replace(fmtp, `${fmtp};stereo=1`);
  }
  return sdp;
}

/**
 * Asks to learn the round trip (RFC 3611 §4.4): who only receives has no other way to, and Chromium then asks again
 * for a lost packet every 100 ms only, however near the box is.
 */
function wantRoundTrips(offer: string): string {
  return offer.replace(/^a=rtpmap:(\d+) H264\/90000\r?$/gim, (line, type: string) =>
    new RegExp(`^a=rtcp-fb:(${type}|\\*) rrtr\\b`, 'm').test(offer)
      ? line
      : `${line.trimEnd()}\r\na=rtcp-fb:${type} rrtr\r`,
  );
}

/**
 * Whether the picture is held back for its sound: browsers do so where an answer has both in one media stream (RFC
 * 8830), and only there.
 */
export function isInSync(answer: string): boolean {
  const streamOf = (kind: string) =>
    new RegExp(`^m=${kind} (?:(?!^m=)[^])*?^a=msid:(\\S+)`, 'm').exec(answer)?.[1];
  const shown = streamOf('video');
  return shown !== undefined && shown === streamOf('audio');
}
