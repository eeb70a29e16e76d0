/** Integration tests with pusher-js. */

import { deliversBy } from '../support/hosted.js';

deliversBy('pusher');
