// Code written for pusher-js, over the client of the package, through the connector of Laravel Echo.
import Echo from 'laravel-echo';
import { EchoConnector } from '../../clients/js/src/echo/index.js';
import { HybridClient } from '../../clients/js/src/index.js';

declare global {
  interface Window {
    readonly token: string;
    pusher: unknown;
  }
}

const client = new HybridClient({ endpoint: '/realtime', token: window.token, shareConnection: false });
client.start();
const echo = new Echo<'function'>({ broadcaster: EchoConnector, client, withoutInterceptors: true } as never);
window.pusher = echo.connector.pusher;
