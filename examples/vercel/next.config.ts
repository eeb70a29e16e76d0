import type { NextConfig } from 'next';

/** Where uvicorn serves the Python side on a developer's machine; on Vercel, vercel.json says where it is. */
const python = 'http://127.0.0.1:8000';

const config: NextConfig = {
  rewrites: async () =>
    process.env.NODE_ENV === 'development'
      ? ['/realtime/:path*', '/api/:path*'].map((source) => ({ source, destination: python + source }))
      : [],
};

export default config;
