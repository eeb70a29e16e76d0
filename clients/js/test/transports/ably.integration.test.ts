/** Events by Ably's own, unmodified SDK, through a local provider and a real server. */

import { deliversBy } from '../support/hosted.js';

deliversBy('ably');
