// Makes the component: `node build.mjs`. Random numbers and clocks stay; what this check does not use is left out.
import { componentize } from '@bytecodealliance/componentize-js'
import { writeFile } from 'node:fs/promises'

const { component } = await componentize({
  sourcePath: 'check.js',
  witPath: 'wit',
  worldName: 'health-check',
  disableFeatures: ['http', 'fetch-event'],
})
await writeFile('{{name}}.wasm', component)
