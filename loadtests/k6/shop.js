// The shop's load. Profiles, mix and addresses come from the plan that loadtests/plan.py writes; nothing is fetched.
//
// By hand: k6 run -e PLAN=/abs/plan.json loadtests/k6/shop.js
// A script of your own needs three things for loadtests to trust it: `handleSummary` from summary.js, one traced request
// at a time (requests.js: `send`, never http.batch), and a setup() that sends nothing.

import { login as loginJourney, mixed as mixedRequest, order as orderJourney, query as queryJourney } from './journeys.js';
import { plan } from './plan.js';
import { handleSummary } from './summary.js';
import { thresholds } from './thresholds.js';

export const options = {
  scenarios: plan.scenarios,
  thresholds,
  summaryTrendStats: ['count', 'avg', 'min', 'med', 'p(95)', 'p(99)', 'max'],
  // Only what a sample needs: every further tag is another column of every row.
  systemTags: ['status', 'method', 'name', 'scenario', 'error_code', 'expected_response'],
};

// k6 finds a scenario's `exec` among the exported functions.
export const login = loginJourney;
export const query = queryJourney;
export const order = orderJourney;
export const mixed = mixedRequest;
export { handleSummary };
