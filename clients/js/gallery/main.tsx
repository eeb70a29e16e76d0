/** `?scene=badge` shows one scene, no query all of them. */

import { createRoot } from 'react-dom/client';
import { Scene, SCENES } from './scenes.js';

const wanted = new URLSearchParams(location.search).get('scene');
const shown = wanted ? [wanted] : SCENES;

createRoot(document.getElementById('root')!).render(shown.map((name) => <Scene key={name} name={name} />));
