// Runs in a page before its own scripts: notes when the page asks for the stream, and how old each picture is
// that it shows, by the clock painted in it. Reading costs a copy of the clock's squares, not of the picture.
(() => {
  const { left, top, cell, columns, rows } = window.__clock;
  const { through, hold } = window.__meterOptions ?? {};
  const meter = { frames: [], posts: [], answers: [], connected: [], shown: null, peers: [], faults: [], held: 0 };
  window.__meter = meter;

  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args);
      meter.peers.push(this);
      this.addEventListener('connectionstatechange', () => {
        if (this.connectionState === 'connected') meter.connected.push(performance.now());
      });
    }

    setRemoteDescription(description) {
      if (!through) return super.setRemoteDescription(description);
      const candidate = /^(a=candidate:\S+ 1 udp \d+) \S+ \d+ typ host/gim;
      const sdp = description.sdp.replace(candidate, `$1 ${through} typ host`);
      return super.setRemoteDescription({ type: description.type, sdp });
    }
  };

  let go = () => {};
  const allowed = hold ? new Promise((resolve) => (go = resolve)) : null;
  /** Lets a page ask for the stream that was told to hold. */
  meter.go = () => go();
  const ask = window.fetch;
  window.fetch = async (url, init) => {
    if (init?.method !== 'POST' || !String(url).includes('whep')) return ask(url, init);
    meter.held += 1;
    if (allowed) await allowed;
    meter.posts.push(performance.now());
    const answer = await ask(url, init);
    meter.answers.push(performance.now());
    return answer;
  };

  /** The squares' 48 bits as [mark and flash, time in 100 µs, checksum], or null. */
  const read = (data, { offset, stride }) => {
    const bytes = [0, 0, 0, 0, 0, 0];
    for (let n = 0; n < columns * rows; n += 1) {
      const x = (n % columns) * cell + cell / 2;
      const y = Math.floor(n / columns) * cell + cell / 2;
      if (data[offset + y * stride + x] > 128) bytes[n >> 3] |= 0x80 >> (n & 7);
    }
    let sum = 0x5a;
    for (const byte of [0, 0, 0, ...bytes.slice(0, 5)]) sum = (((sum << 3) | (sum >> 5)) & 0xff) ^ byte;
    if (bytes[0] >> 1 !== 0b1011001 || sum !== bytes[5]) return null;
    return [bytes[0] & 1, bytes[1] * 2 ** 24 + bytes[2] * 2 ** 16 + bytes[3] * 2 ** 8 + bytes[4]];
  };

  const rect = { x: left, y: top, width: columns * cell, height: rows * cell };
  const buffers = [];
  const rvfc = HTMLVideoElement.prototype.requestVideoFrameCallback;
  const visible = (video) =>
    video.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && video.videoWidth > 0;

  const watch = (video) => {
    const take = (now, info) => {
      const at = performance.now();
      rvfc.call(video, take);
      const row = {
        at,
        now,
        presented: info.presentationTime,
        expected: info.expectedDisplayTime,
        received: info.receiveTime ?? null,
        count: info.presentedFrames,
        painted: null,
        flash: 0,
      };
      meter.frames.push(row);
      let frame;
      try {
        frame = new VideoFrame(video);
      } catch (error) {
        meter.faults.push(String(error));
        return;
      }
      const data = buffers.pop() ?? new Uint8Array(rect.width * rect.height * 4);
      frame
        .copyTo(data, { rect })
        .then(([luma]) => {
          const clock = read(data, luma);
          if (clock) [row.flash, row.painted] = clock;
          buffers.push(data);
        })
        .catch((error) => meter.faults.push(String(error)))
        .finally(() => frame.close());
    };
    rvfc.call(video, take);
    // What a callback of the page's own does to the element is seen here, before the same frame is drawn.
    const look = () => {
      const last = meter.frames[meter.frames.length - 1];
      if (last && visible(video)) {
        meter.shown = { at: performance.now(), count: last.count };
        return;
      }
      requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  };
  const watched = new WeakSet();
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
    if (!watched.has(this)) {
      watched.add(this);
      watch(this);
    }
    return rvfc.call(this, callback);
  };

  const EAR = `registerProcessor('ear', class extends AudioWorkletProcessor {
    quiet = 0;
    process([input]) {
      for (const [at, sample] of (input[0] ?? []).entries()) {
        if (Math.abs(sample) < 0.05) this.quiet += 1;
        else {
          if (this.quiet > sampleRate / 4) this.port.postMessage(currentTime + at / sampleRate);
          this.quiet = 0;
        }
      }
      return true;
    }
  })`;
  meter.beeps = [];
  /** Listens to the session's sound; false when it has none. Each beep is noted when it leaves the device. */
  meter.listen = async () => {
    const [peer] = meter.peers.slice(-1);
    const sound = peer?.getTransceivers().find((one) => one.currentDirection === 'recvonly' && one.receiver.track.kind === 'audio');
    if (!sound) return false;
    const context = new AudioContext({ latencyHint: 'interactive' });
    await context.resume();
    await context.audioWorklet.addModule(URL.createObjectURL(new Blob([EAR], { type: 'text/javascript' })));
    const ear = new AudioWorkletNode(context, 'ear');
    context.createMediaStreamSource(new MediaStream([sound.receiver.track])).connect(ear).connect(context.destination);
    ear.port.onmessage = ({ data }) => {
      const { contextTime, performanceTime } = context.getOutputTimestamp();
      meter.beeps.push(performanceTime + (data - contextTime) * 1000);
    };
    meter.ear = { context, ear };
    return true;
  };

  meter.now = () => performance.timeOrigin + performance.now();
  /** Everything since the last call; times on the page's own clock, in milliseconds. */
  meter.take = () => ({
    origin: performance.timeOrigin,
    // The newest may not have been read yet.
    frames: meter.frames.splice(0, Math.max(0, meter.frames.length - 2)),
    posts: meter.posts,
    answers: meter.answers,
    connected: meter.connected,
    shown: meter.shown,
    beeps: meter.beeps.splice(0),
    faults: meter.faults.splice(0),
  });
  meter.stats = async () => {
    const [peer] = meter.peers.slice(-1);
    const all = peer ? [...(await peer.getStats()).values()] : [];
    const of = (kind) => all.find((one) => one.type === 'inbound-rtp' && one.kind === kind) ?? null;
    return { video: of('video'), audio: of('audio') };
  };
})();
