// login -> query -> order. In the closed model a virtual user walks a journey: two requests, then one pause.
// In the open model every iteration is one request of the mix, so that the rate of iterations is the rate of requests.

import { sleep } from 'k6';
import exec from 'k6/execution';

import { pick, plan, words } from './plan.js';
import { getProduct, json, lastOrder, login as logIn, nextPage, placeOrder, readOrder, searchProducts, searchWord } from './requests.js';

const REQUESTS = { search: searchProducts, product: getProduct, order_create: placeOrder, order_read: readOrder, login: logIn };

// A pattern as long as the sum of the shares. The stride is coprime to 100, so that neighbours differ and every 100
// iterations hold the mix exactly.
const STRIDE = 37;
const PATTERN = Object.entries(plan.mix).flatMap(([name, share]) => Array(share).fill(name));

function turn(pattern) {
  return pattern[(exec.scenario.iterationInTest * STRIDE) % pattern.length];
}

export function mixed() {
  REQUESTS[turn(PATTERN)]();
}

export function login() {
  logIn();
  searchProducts();
  sleep(plan.think);
}

const variants = (name) => Object.entries(plan.journeys[name]).flatMap(([step, share]) => Array(share).fill(step));
const QUERIES = variants('query');
const ORDERS = variants('order');

export function query() {
  if (turn(QUERIES) === 'product') {
    searchProducts();
    getProduct();
  } else {
    turnThePage();
  }
  sleep(plan.think);
}

function turnThePage() {
  const word = pick(words);
  const response = searchWord(word);
  const { next_cursor: cursor } = response.status === 200 ? json(response) : {};
  if (cursor) {
    nextPage(word, cursor);
  } else {
    searchProducts();
  }
}

export function order() {
  if (turn(ORDERS) === 'read') {
    placeOrder();
    readOrder(lastOrder() || undefined);
  } else {
    searchProducts();
    placeOrder();
  }
  sleep(plan.think);
}
