/** Starts the page. */
import { render } from 'preact';
import { browserApp, siteRoot } from './app';
import { watchFullScreen } from './device/fullscreen';
import { Door } from './door/door';
import { language } from './i18n';
import './styles/index.css';
import { Entrance } from './views/entrance';
import { Page } from './views/page';

document.documentElement.lang = language;
const door = new Door(siteRoot(), location.hash, {
  fetch: (url, init) => fetch(url, init),
  now: () => performance.now(),
  reload: () => location.reload(),
});
const app = browserApp();
const place = document.getElementById('app');
if (place) {
  render(
    <Entrance door={door}>
      <Page app={app} />
    </Entrance>,
    place,
  );
}
watchFullScreen();
app.link.state.subscribe((state) => {
  // The box says nothing to a socket that it does not let in, nor why it ended one. Before, there is nothing to ask: a
  // proxy may forward no more than the page and its socket.
  if (state === 'down') void door.check();
});
app.start();
