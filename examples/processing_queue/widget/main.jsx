/** Page that uploads files to the application, and shows the jobs in the widget. */

import { createRoot } from 'react-dom/client';
import { ProcessingWidget } from 'realtime-bridge/react';
import 'realtime-bridge/react/styles.css';
import '../static/style.css';
import '../static/jobs.css';
import './page.css';
import { Upload } from '../static/upload.js';

const element = (id) => document.getElementById(id);

new Upload(element('drop'), element('uploads'));
// For development: it shows what happens to the job of a dead worker.
fetch('/api/kill-worker', { method: 'OPTIONS' }).then(({ status }) => {
  element('kill').hidden = status === 404;
});
element('kill').onclick = () => fetch('/api/kill-worker', { method: 'POST' });

createRoot(element('jobs')).render(<ProcessingWidget userId="demo" debug={false} />);
