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
      <Page app={app} door={door} />
    </Entrance>,
    place,
  );
}
watchFullScreen();
door.follow(app.link.state);
app.start();
