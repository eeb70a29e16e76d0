import type { NextConfig } from 'next';

/** URL of the Python side on a developer's machine; on Vercel, vercel.json routes to it. */
const python = 'http://127.0.0.1:8000';

const config: NextConfig = {
  rewrites: async () =>
    process.env.NODE_ENV === 'development'
      ? ['/realtime/:path*', '/api/:path*'].map((source) => ({ source, destination: python + source }))
      : [],
};

export default config;
