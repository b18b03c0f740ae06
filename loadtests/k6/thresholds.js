// Spec D6. The gate judges every sample itself; these make a bare `k6 run` say the same, free of k6's traps:
// - an error rate needs its denominator: http_req_failed counts good and bad requests against the declared statuses;
// - an empty metric passes: so judged requests must exist;
// - the rate counts the whole run, so it takes all requests, the warm-up's too.
// They follow from slo/specs/ (`goshop slo rules`); only the checks are no service's promise but the journeys' own.
// Crossing one ends k6 with 99, which the wrapper takes as data.

const promised = JSON.parse(open('../../slo/generated/k6/checkout.json'));

export const thresholds = Object.assign({ checks: ['rate>=0.99'] }, promised);
