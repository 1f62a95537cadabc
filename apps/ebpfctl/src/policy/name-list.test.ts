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
  const failed = { unasked: 0n, unreadable: 0n, gave_way: 0n, collided: 0n };
  const events = { asked: 3n, refused: 1n, learnt: 2n, ...failed, ...added };
  assert.equal(renderNameEvents(events), "3 questions passed, 1 were refused; addresses were learnt 2 times\n");
  assert.match(renderNameEvents({ ...events, unasked: 4n }), /; 4 answers were to no question\n$/);
});

test("renderForgotten warns of what there was no room for, and only then", () => {
  assert.equal(renderForgotten({ addresses: 0n, names: 0n }), "");
  assert.match(renderForgotten({ addresses: 3n, names: 0n }), /^warning: 3 addresses and 0 names had to give way /);
});
