// A health check: compares a value with a limit.

const schema = {
  type: 'object',
  additionalProperties: false,
  properties: { value: { type: 'number' }, critical_above: { type: 'number' } },
}

export const about = {
  describe() {
    return {
      name: '{{name}}',
      version: '0.1.0',
      summary: 'Compares a value with a limit.',
      configSchema: JSON.stringify(schema),
      wants: { network: [], urls: [], directories: [], environment: [] },
    }
  },
}

export const check = {
  run(config) {
    try {
      const { value = 1, critical_above: limit = 10 } = JSON.parse(config)
      const status = value > limit ? 'critical' : 'passing'
      return { status, output: `the value is ${value}, the limit ${limit}`, metrics: [{ name: 'value', kind: 'gauge', value, labels: [] }] }
    } catch (error) {
      return { status: 'critical', output: String(error), metrics: [] } // A trap would say less.
    }
  },
}
