// What this run does and with which data, read once and shared by all virtual users.

import { SharedArray } from 'k6/data';

export const plan = JSON.parse(open(__ENV.PLAN));

// SharedArray keeps one copy for all virtual users; each element is decoded when it is used.
function shared(key) {
  return new SharedArray(key, () => JSON.parse(open(plan.data))[key]);
}

export const users = shared('users');
export const products = shared('products');
export const orders = shared('orders');
export const words = shared('words');
export const categories = shared('categories');

export function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}
