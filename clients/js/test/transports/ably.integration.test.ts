/** Integration tests with ably-js. */

import { deliversBy } from '../support/hosted.js';

deliversBy('ably');
