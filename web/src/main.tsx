/** Starts the page. */
import { render } from 'preact';
import { browserApp } from './app';
import { watchFullScreen } from './device/fullscreen';
import { language } from './i18n';
import './styles/index.css';
import { Page } from './views/page';

document.documentElement.lang = language;
const app = browserApp();
const place = document.getElementById('app');
if (place) render(<Page app={app} />, place);
watchFullScreen();
app.start();
