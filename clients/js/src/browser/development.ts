/** Kind of the build: development or production. */

declare const process: { readonly env: { readonly NODE_ENV?: string } };

/**
 * Return whether this is a development build. Bundlers replace `process.env.NODE_ENV`, and then drop the code that
 * depends on it; Vite's development server has `import.meta.env` alone. Without a bundler it is production.
 */
export function isDevelopment(): boolean {
  if (typeof process !== 'undefined') return process.env.NODE_ENV !== 'production';
  return (import.meta as { env?: { DEV?: boolean } }).env?.DEV === true;
}
