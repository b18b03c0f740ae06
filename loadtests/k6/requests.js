// The five requests of the mix. Each carries its own sampled trace; its row in the samples says which and when.

import { check } from 'k6';
import exec from 'k6/execution';
import http from 'k6/http';

import { categories, orders, pick, plan, products, users, words } from './plan.js';
import { newTrace } from './trace.js';

// What the journeys declare. Stock and balances are seeded so large that nothing else is a proper answer.
const DECLARED = http.expectedStatuses(200, 201);
const PAGE = 20;
const REMEMBERED = 20;

// Module state is per virtual user: the orders this user has placed.
const placed = [];

export function send(method, endpoint, path, { body = null, token = '', headers = {}, keep = false } = {}) {
  const { traceId, traceparent } = newTrace();
  const sent = Object.assign({ traceparent }, headers);
  if (token) {
    sent.Authorization = `Bearer ${token}`;
  }
  if (body !== null) {
    sent['Content-Type'] = 'application/json';
  }
  // Metadata, not tags: a tag's value per request would make one time series per request.
  exec.vu.metrics.metadata.trace_id = traceId;
  exec.vu.metrics.metadata.start_ms = String(Date.now());
  return http.request(method, plan.url + path, body === null ? null : JSON.stringify(body), {
    headers: sent,
    tags: { name: `${method} ${endpoint}` },
    timeout: plan.timeout,
    responseCallback: DECLARED,
    responseType: keep ? 'text' : 'none',
  });
}

export function me() {
  return users[(exec.vu.idInTest - 1) % users.length];
}

export function login() {
  const { email, password } = pick(users);
  return send('POST', '/api/login', '/api/login', { body: { email, password } });
}

function search(parameters, keep) {
  return send('GET', '/api/products', `/api/products?${parameters}&limit=${PAGE}`, { token: me().token, keep });
}

// Every third search is narrowed to a category.
export function searchProducts(keep = false) {
  const category = Math.random() < 1 / 3 ? `&category=${encodeURIComponent(pick(categories))}` : '';
  return search(`q=${encodeURIComponent(pick(words))}${category}`, keep);
}

export function nextPage(word, cursor) {
  return search(`q=${encodeURIComponent(word)}&cursor=${encodeURIComponent(cursor)}`, false);
}

export function searchWord(word) {
  return search(`q=${encodeURIComponent(word)}`, true);
}

export function getProduct(id = pick(products)) {
  return send('GET', '/api/products/{id}', `/api/products/${id}`, { token: me().token });
}

export function json(response) {
  try {
    return JSON.parse(response.body);
  } catch (error) {
    return {}; // The check below, or the row's status, tells what came instead.
  }
}

export function placeOrder() {
  const items = [{ product_id: pick(products), quantity: 1 + Math.floor(Math.random() * 3) }];
  const headers = { 'Idempotency-Key': newTrace().traceId };
  const response = send('POST', '/api/orders', '/api/orders', { body: { items }, token: me().token, headers, keep: true });
  if (response.status === 200 || response.status === 201) {
    const { id } = json(response);
    if (check(id, { 'a placed order has an id': (value) => typeof value === 'string' && value !== '' })) {
      remember(id);
    }
  }
  return response;
}

function remember(id) {
  placed.push(id);
  if (placed.length > REMEMBERED) {
    placed.shift();
  }
}

// An order of this virtual user where it has placed one, a seeded one with its owner's token otherwise.
export function readOrder(id = placed.length ? pick(placed) : '') {
  const seeded = id ? null : pick(orders);
  const token = id ? me().token : users[seeded.user].token;
  return send('GET', '/api/orders/{id}', `/api/orders/${id || seeded.id}`, { token });
}

export function lastOrder() {
  return placed[placed.length - 1] || '';
}
