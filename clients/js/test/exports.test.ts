/** Public names of the package. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

const CORE = [
  'ChannelError',
  'ChannelEvent',
  'ChannelHandlers',
  'ChannelState',
  'Client',
  'ClientOptions',
  'ClientState',
  'FetchData',
  'HybridClient',
  'HybridUpdates',
  'HybridUpdatesOptions',
  'JobData',
  'JobQuestion',
  'LibraryEvents',
  'Mode',
  'NamedEvent',
  'Phase',
  'Position',
  'Presence',
  'PresenceMember',
  'PresenceOptions',
  'PresenceState',
  'ReadableStore',
  'RealtimeEvent',
  'RealtimeEvents',
  'ReconnectingSocket',
  'Reset',
  'ResetReason',
  'Snapshot',
  'SocketOptions',
  'SocketState',
  'StatusKind',
  'Store',
  'Stream',
  'StreamOptions',
  'StreamPhase',
  'StreamState',
  'Telemetry',
  'Transition',
  'TransportName',
  'UpdatesState',
  'foldStream',
  'userChannel',
];

const REACT = [
  'ChannelOptions',
  'ConnectionBadge',
  'ConnectionBadgeProps',
  'ConnectionOptions',
  'HybridUpdatesResult',
  'Job',
  'JobControl',
  'JobRefusal',
  'JobState',
  'Jobs',
  'ProcessingWidget',
  'ProcessingWidgetProps',
  'RealtimeProvider',
  'RealtimeProviderProps',
  'StatusText',
  'StreamResult',
  'Tone',
  'UsePresenceOptions',
  'UseStreamOptions',
  'WebSocketResult',
  'WidgetTexts',
  'reduceJobs',
  'useChannel',
  'useClient',
  'useConnectionStatus',
  'useHybridUpdates',
  'useJobControl',
  'usePresence',
  'useStream',
  'useWebSocket',
];

const AI = ['BridgeChatTransport', 'BridgeChatTransportOptions', 'StreamAddress', 'StreamRestartedError'];

const PUSHER = [
  'BridgeChannel',
  'BridgeConnection',
  'BridgePusher',
  'Callbacks',
  'EventCallback',
  'GlobalCallback',
  'Members',
  'PusherState',
];

const ECHO = ['EchoConnector', 'EchoConnectorOptions'];

const AG_UI = ['BridgeAgent', 'BridgeAgentConfig', 'StreamRestartedError'];

/** Return the names that a module exports, types among them; the source is parsed, since a build drops types. */
function exportsOf(path: string): string[] {
  const { statements } = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
  return statements.flatMap((statement) => namesOf(statement, path)).sort();
}

function namesOf(statement: ts.Statement, path: string): string[] {
  if (!ts.isExportDeclaration(statement)) {
    const isExported = ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    return isExported ? [(statement as ts.InterfaceDeclaration).name.text] : [];
  }
  const { exportClause, moduleSpecifier } = statement;
  if (exportClause && ts.isNamedExports(exportClause)) return exportClause.elements.map(({ name }) => name.text);
  const source = (moduleSpecifier as ts.StringLiteral).text.replace(/\.js$/, '.ts');
  return exportsOf(join(dirname(path), source));
}

it('packages export exactly the documented names', () => {
  expect(exportsOf(`${ROOT}src/index.ts`)).toEqual(CORE);
  expect(exportsOf(`${ROOT}src/react/index.ts`)).toEqual(REACT);
  expect(exportsOf(`${ROOT}src/ai/index.ts`)).toEqual(AI);
  expect(exportsOf(`${ROOT}src/ag-ui/index.ts`)).toEqual(AG_UI);
  expect(exportsOf(`${ROOT}src/pusher/index.ts`)).toEqual(PUSHER);
  expect(exportsOf(`${ROOT}src/echo/index.ts`)).toEqual(ECHO);
});

it('package.json has exactly the documented entry points', () => {
  const { exports } = createRequire(import.meta.url)('../package.json');
  expect(Object.keys(exports)).toEqual(['.', './react', './react/styles.css', './ai', './ag-ui', './pusher', './echo', './package.json']);
});
