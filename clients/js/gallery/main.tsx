/** Page of the gallery: `?scene=badge` renders one scene, no query all scenes. */

import { createRoot } from 'react-dom/client';
import { Scene, SCENES } from './scenes.js';

const scene = new URLSearchParams(location.search).get('scene');
const names = scene ? [scene] : SCENES;

createRoot(document.getElementById('root')!).render(names.map((name) => <Scene key={name} name={name} />));
