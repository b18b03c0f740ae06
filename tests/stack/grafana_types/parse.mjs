// Reads pairs of language and query as JSON; writes, for each, where its grammar does not go on ("" where it does).
import { readFileSync } from 'node:fs';
import { parser as logql } from '@grafana/lezer-logql';
import { parser as traceql } from '@grafana/lezer-traceql';
import { parser as promql } from '@prometheus-io/lezer-promql';

const parsers = { logql, promql, traceql };

function fault(language, text) {
  let found = '';
  parsers[language].parse(text).iterate({
    enter(node) {
      if (node.type.isError && !found) {
        found = `at ${node.from}: ${JSON.stringify(text.slice(node.from, node.from + 40))}`;
      }
    },
  });
  return found;
}

const queries = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(queries.map(([language, text]) => fault(language, text))));
