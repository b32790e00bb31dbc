/**
 * Wires the page together without any framework: link, player, delay meter, address and device. Owns where the
 * user is (`place`) and everything that happens on its own (waking, the network coming back, leaving). Views read
 * its stores and call its methods.
 */
import {
  browserMemory,
  firstPlace,
  type Memory,
  type Place,
  placeUrl,
  readPlace,
  type Site,
  sharedUrl,
  shortName,
  site,
  socketUrl,
  trustUrl,
  whepUrl,
} from './address';
import { DelayMeter } from './delay/delay';
import { vibrate, vibrationFor } from './device/vibrate';
import { ScreenKeeper } from './device/wakelock';
import { browserLink, Link } from './link/link';
import { browserPlayer, Player } from './player/player';
import { newContext } from './sound/meter';
import { Sound } from './sound/sound';
import { Store } from './store';
import { chosen, type Shown } from './tally/tally';
import type { Stream } from './wire';

/** How often the box is told how late the picture is. */
const REPORT_MS = 2000;

export class App {
  readonly link: Link;
  readonly player: Store<Player>;
  readonly delay: DelayMeter;
  readonly keeper = new ScreenKeeper();
  readonly place: Store<Place>;
  readonly vibration: Store<boolean>;
  readonly sound: Sound;
  /** Whether to say, once for each device, that its screen will not stay on. */
  readonly sleepHint: Store<boolean>;

  readonly #site: Site;
  readonly #memory: Memory;
  #lastTally: Shown = 'unknown';
  /** Whether the stream is the user's choice, or the box has confirmed it: it is not replaced any more. */
  #settled = false;
  /** Lets go of the player that is followed. */
  #unfollow = () => {};

  constructor(
    at: Site,
    memory: Memory,
    /** Where to read how this device gets HTTPS, where it has none. */
    readonly trust: string | null = null,
  ) {
    this.#site = at;
    this.#memory = memory;
    this.place = new Store(firstPlace(location.href, at, memory));
    this.vibration = new Store(memory.get('vibration') !== 'off');
    const isPhone = matchMedia('(pointer: coarse)').matches;
    this.sleepHint = new Store(isPhone && !this.keeper.supported && memory.get('sleep_hint') === null);
    this.link = new Link(socketUrl(at.root), browserLink);
    this.delay = new DelayMeter((pageMs) => this.link.clock.toBox(pageMs));
    this.sound = new Sound(memory, newContext);
    this.player = new Store(this.#newPlayer(this.place.get().stream));
    this.#follow();
  }

  start(): void {
    const { link } = this;
    link.onMedia = ({ stream, rtp }) => {
      if (shortName(stream) !== this.place.get().stream) return;
      for (const [timestamp, boxMs] of rtp) this.delay.arrived(timestamp, boxMs);
    };
    link.onEdge = (session, rtp) => this.player.get().edge(session, rtp);
    link.onBoxRestart = () => this.player.get().rejoin();
    link.streams.subscribe(() => this.#onStreams());
    let linkedBefore = false;
    link.hello.subscribe(() => {
      this.#fallBack();
      // A new link may mean a new box, or that the network was gone: is the session still known there?
      if (linkedBefore) this.player.get().wake();
      linkedBefore = true;
    });
    const tell = () => this.#onTally();
    link.tally.subscribe(tell);
    link.state.subscribe(tell);
    this.sound.lipSync.subscribe(() => this.player.get().rejoin());
    setInterval(() => this.#report(), REPORT_MS);
    link.start();

    history.replaceState(null, '', placeUrl(this.#site.root, this.place.get()));
    addEventListener('popstate', () => {
      this.#settled = true;
      const here = site(location.href, '', '');
      const path = location.href.startsWith(this.#site.root)
        ? location.pathname.slice(new URL(this.#site.root).pathname.length)
        : here.stream;
      const stream = shortName(decodeURIComponent(path)) || this.#site.stream;
      this.#move({ ...readPlace(location.href, this.#site), stream });
    });

    const wake = () => {
      link.wake();
      if (this.place.get().view !== 'lamp') this.player.get().wake();
      this.sound.wake();
    };
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') wake();
    });
    document.addEventListener('resume', wake);
    addEventListener('online', wake);
    addEventListener('pagehide', () => this.player.get().stop());
    addEventListener('pageshow', (event) => {
      if (!event.persisted) return;
      this.#play();
      wake();
    });
    this.keeper.start();
    this.#play();
    this.#onTally();
  }

  /** The stream that is shown, as the box describes it; `null` while it has not, or has no such stream. */
  stream(): Stream | null {
    const { stream } = this.place.get();
    return this.link.streams.get()?.find(({ name }) => shortName(name) === stream) ?? null;
  }

  /** Goes somewhere else: changes the address, remembers the choice. */
  go(change: Partial<Place>): void {
    this.#settled = true;
    const place = { ...this.place.get(), ...change };
    if ('camera' in change) this.#memory.set('camera', place.camera);
    if ('stream' in change) this.#memory.set('stream', place.stream);
    history.pushState(null, '', placeUrl(this.#site.root, place));
    this.#move(place);
  }

  setVibration(on: boolean): void {
    this.vibration.set(on);
    this.#memory.set('vibration', on ? null : 'off');
    if (on) vibrate([80]);
  }

  closeSleepHint(): void {
    this.sleepHint.set(false);
    this.#memory.set('sleep_hint', 'seen');
  }

  /** The address to hand out for where the user is now. */
  shared(): string {
    return sharedUrl(this.#site.root, this.place.get(), this.link.hello.get()?.listen.page ?? []);
  }

  #newPlayer(stream: string): Player {
    return new Player(whepUrl(this.#site.root, stream), browserPlayer, {
      delayMs: () => this.delay.delayMs(performance.now()),
      namesEdges: () => this.link.isOpen(),
      lipSync: () => this.sound.lipSync.get(),
    });
  }

  /** Hands on what the player finds: its session to the box, its sound to whoever plays it. */
  #follow(): void {
    this.#unfollow();
    const player = this.player.get();
    const { stream } = this.place.get();
    const watch = () => this.link.watch(stream, player.sessionName.get());
    const listen = () => this.sound.setStream(player.sound.get());
    const both = [player.sessionName.subscribe(watch), player.sound.subscribe(listen)];
    this.#unfollow = () => both.forEach((stop) => void stop());
    watch();
    listen();
  }

  #report(): void {
    const ms = this.delay.delayMs(performance.now());
    if (ms !== null && this.player.get().sessionName.get() !== null) this.link.reportDelay(ms);
  }

  #move(place: Place): void {
    const before = this.place.get();
    this.place.set(place);
    if (place.stream !== before.stream) {
      this.player.get().stop();
      this.delay.reset();
      this.player.set(this.#newPlayer(place.stream));
      this.#follow();
      this.#onStreams();
    }
    this.#play();
    // Another camera's tally is news to the hand; the same one in another view is not.
    if (place.camera !== before.camera) this.#lastTally = 'unknown';
    this.#onTally();
  }

  /** A lamp shows no picture, and so takes nobody's airtime. */
  #play(): void {
    const player = this.player.get();
    if (this.place.get().view === 'lamp') player.stop();
    else player.start();
  }

  #onStreams(): void {
    if (this.link.streams.get() === null) return;
    const stream = this.stream();
    this.player.get().sourceRuns(stream?.live === true && stream.playable);
    // While the source is away, what is known of it says nothing about its sound.
    this.sound.sourceHas(stream?.live !== true || stream.sound !== null);
  }

  /** A remembered stream that is not there any more gives way to the box's own, when the box first speaks. */
  #fallBack(): void {
    const settled = this.#settled;
    this.#settled = true;
    const place = this.place.get();
    if (settled || this.#site.explicit || place.stream === this.#site.stream || this.stream()) return;
    history.replaceState(null, '', placeUrl(this.#site.root, { ...place, stream: this.#site.stream }));
    this.#move({ ...place, stream: this.#site.stream });
  }

  #onTally(): void {
    const { link } = this;
    const { tally } = chosen(this.place.get().camera, link.tally.get(), link.state.get());
    // For styles, tests and the browser's own bars; set here, at once, so that nothing can come in between.
    document.documentElement.dataset.tally = tally;
    if (this.vibration.get()) vibrate(vibrationFor(this.#lastTally, tally));
    this.#lastTally = tally;
  }
}

const meta = (name: string): string =>
  document.querySelector<HTMLMetaElement>(`meta[name="returnfeed-${name}"]`)?.content ?? '';

export function browserApp(): App {
  const at = site(location.href, meta('root'), meta('stream'));
  return new App(at, browserMemory, trustUrl(at.root, meta('trust')));
}

/** The root of the box as this page reaches it. */
export const siteRoot = (): string => site(location.href, meta('root'), meta('stream')).root;
