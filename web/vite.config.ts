import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { constants, gzipSync } from 'node:zlib'
import vue from '@vitejs/plugin-vue'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

const root = fileURLToPath(new URL('.', import.meta.url))

/* The server sends FILE.gz when a browser accepts gzip and the file exists; it never compresses by itself. */
function precompress(): Plugin {
  let out = ''
  const walk = (dir: string): string[] =>
    readdirSync(dir).flatMap((name) => {
      const path = join(dir, name)
      return statSync(path).isDirectory() ? walk(path) : [path]
    })
  return {
    name: 'schoolward-precompress',
    apply: 'build',
    configResolved(config) {
      out = resolve(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const path of walk(out)) {
        if (!/\.(js|css|html|svg|json|txt)$/.test(path)) continue
        const raw = readFileSync(path)
        const small = gzipSync(raw, { level: constants.Z_BEST_COMPRESSION })
        if (small.length < raw.length) writeFileSync(`${path}.gz`, small)
      }
    }
  }
}

export default defineConfig({
  root,
  plugins: [vue(), precompress()],
  build: {
    target: 'es2020',
    outDir: 'dist',
    emptyOutDir: true,
    /* Data URLs of scripts and styles would need a weaker Content-Security-Policy. */
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: {
        home: resolve(root, 'index.html'),
        officer: resolve(root, 'officer/index.html'),
        police: resolve(root, 'police/index.html'),
        parent: resolve(root, 'parent/index.html')
      },
      output: {
        chunkFileNames: ({ name }) => `assets/${name.replace(/\.vue.*$/, '').toLowerCase()}-[hash].js`,
        /* Names by library, so that an edit of ours leaves the big chunks in the browser's cache. */
        manualChunks(id) {
          if (id.includes('/node_modules/ol/') || id.includes('/node_modules/rbush/') || id.includes('/node_modules/pbf/')) return 'ol'
          if (id.includes('/node_modules/uplot/')) return 'uplot'
          if (id.includes('/node_modules/')) return 'vue'
          return undefined
        }
      }
    }
  },
  test: {
    include: ['tests/**/*.test.ts'],
    environment: 'node'
  }
})
