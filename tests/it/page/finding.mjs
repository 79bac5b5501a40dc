// What a reader finds on the pages, and how.

import { assert, text } from "./world.mjs";

export const promises = [
  [
    "the_overview_loads",
    async (visit) => {
      const page = await visit.open("/");
      assert.equal(page.answer.status(), 200);
      assert.match(await text(page, "h1"), /down/);
    },
  ],
];
