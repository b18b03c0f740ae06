// Spec D6. The gate judges every sample itself; these make a bare `k6 run` say the same, free of k6's traps:
// - an error rate needs its denominator: http_req_failed counts good and bad requests against the declared statuses;
// - an empty metric passes: so judged requests must exist;
// - the rate counts the whole run, so it takes all requests, the warm-up's too.
// Crossing one ends k6 with 99, which the wrapper takes as data.

export const thresholds = {
  'http_req_duration{phase:judged}': ['p(99)<=800'],
  'http_req_failed{phase:judged}': ['rate<0.01'],
  'http_reqs{phase:judged}': ['count>0'],
  http_reqs: ['rate>100'],
  checks: ['rate>=0.99'],
};
