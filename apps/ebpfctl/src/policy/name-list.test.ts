import assert from "node:assert/strict";
import { test } from "node:test";
import { listNames, renderForgotten, renderNameEvents, renderNames } from "./name-list.ts";

const second = 1_000_000_000n;
const endpoint = { namespace: "shop", pod: "web", interface: "web", ifindex: 7 };
const name = { ifindex: 7, address: Uint8Array.of(203, 0, 113, 9), name: "b.test", untilNs: 90n * second };

test("listNames tells names of pods that are there, by pod and name, and for how long they count", () => {
  const all = [name, { ...name, name: "a.test", untilNs: 5n * second }, { ...name, ifindex: 8 }];
  const state = { data: { about: "node", endpoints: [endpoint] } } as const;
  assert.equal(
    renderNames(listNames(all, state, 7n * second)).replaceAll(/ +/g, " "),
    "POD NAME ADDRESS LEFT\nshop/web a.test 203.0.113.9 ended\nshop/web b.test 203.0.113.9 83s\n",
  );
});

test("renderNameEvents tells what went wrong only where something did", () => {
  const added = { address_added: 2n, name_added: 2n, no_room: 0n };
  const failed = { unasked: 0n, unreadable: 0n, gave_way: 0n, collided: 0n, cut: 0n, in_fragments: 0n, by_tcp: 0n };
  const events = { asked: 3n, refused: 1n, learnt: 2n, ...failed, ...added };
  assert.equal(renderNameEvents(events), "3 questions passed, 1 was refused; addresses were learnt 2 times\n");
  assert.match(renderNameEvents({ ...events, unasked: 4n }), /; 4 answers were to no question\n$/);
  assert.match(renderNameEvents({ ...events, cut: 5n }), /; 5 answers were cut short, which sends who asked to TCP\n$/);
  assert.match(renderNameEvents({ ...events, by_tcp: 6n }), /; 6 connections asked by TCP, where nothing is learnt\n$/);
  assert.match(renderNameEvents({ ...events, in_fragments: 7n }), /; 7 packets were fragments of answers, of which /);
  const one = { asked: 1n, refused: 0n, learnt: 1n, unasked: 1n, unreadable: 1n, cut: 1n };
  assert.equal(
    renderNameEvents({ ...events, ...one, by_tcp: 1n, in_fragments: 1n, gave_way: 1n }),
    "1 question passed, 0 were refused; addresses were learnt 1 time; 1 answer was to no question; 1 answer was malformed or too long; 1 answer was cut short, which sends who asked to TCP; 1 connection asked by TCP, where nothing is learnt; 1 packet was a fragment of an answer, of which nothing is learnt; 1 name gave way to others of its address\n",
  );
});

test("renderForgotten warns of what there was no room for, and only then", () => {
  assert.equal(renderForgotten({ addresses: 0n, names: 0n }), "");
  assert.match(renderForgotten({ addresses: 3n, names: 0n }), /^warning: 3 addresses and 0 names had to give way /);
  assert.match(renderForgotten({ addresses: 1n, names: 1n }), /^warning: 1 address and 1 name had to give way /);
});
