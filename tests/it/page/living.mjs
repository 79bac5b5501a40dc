// How an open page follows what happens, and what it says when it cannot.

import { assert, text, until } from "./world.mjs";

/** The row of a check: what it says, and whether it is the very element that was there before. */
const row = (page, check) =>
  page.evaluate((check) => {
    const link = document.querySelector(`#checks a[href="/checks/${check}"], main a[href="/checks/${check}"]`);
    const row = link?.closest("[data-check], tr, li, article");
    return row?.textContent ?? "";
  }, check);

const stale = (page) =>
  page.evaluate(() => {
    const said = document.getElementById("stale");
    return said && !said.hidden ? said.textContent : "";
  });

/** Says since when what it shows is old, as a person reads a clock. */
const SAYS_SINCE_WHEN = /from \d{1,2}:\d{2}:\d{2}/;

export const promises = [
  [
    "a_check_that_goes_down_changes_its_row_without_a_reload",
    async (visit) => {
      const page = await visit.open("/?q=api-worker-3");
      await page.evaluate(() => {
        globalThis.isTheSame = true;
      });
      assert.match(await row(page, "api-worker-3"), /up/i);
      const began = Date.now();
      await visit.world.ask("answer", { service: "api-worker-3", status: 503 });
      await until("the row to say down", async () => /down/i.test(await row(page, "api-worker-3")));
      const took = Date.now() - began;
      await visit.world.ask("answer", { service: "api-worker-3", status: 200 });
      await until("the row to say up", async () => /up/i.test(await row(page, "api-worker-3")));
      const seen = await page.evaluate(() => ({ ...globalThis.seen, same: globalThis.isTheSame }));
      assert.ok(seen.same, "the page was loaded anew");
      return `down after ${took} ms`;
    },
  ],
  [
    "a_page_that_is_open_does_not_shift_while_runs_come_in",
    async (visit) => {
      const page = await visit.open("/");
      // Long enough for each check to run.
      await new Promise((done) => setTimeout(done, 6000));
      const { shift, shifted } = await page.evaluate(() => globalThis.seen);
      assert.equal(shift, 0, String(shifted));
    },
  ],
  [
    "a_store_that_is_gone_is_told",
    async (visit) => {
      const page = await visit.open("/");
      await visit.world.ask("lose the store");
      try {
        await until("the page to tell", async () => /store/i.test(await text(page, "main")));
        for (const path of ["/", "/checks/payments-api", "/incidents", "/notices", "/status"]) {
          const other = await visit.open(path);
          assert.ok(other.answer.status() < 600 && (await text(other)).length > 100, path);
          await other.close();
        }
      } finally {
        await visit.world.ask("find the store");
      }
      // What is hidden behind another page is not renewed.
      await page.bringToFront();
      await until("the page to be well again", async () => {
        return !/store fails/i.test(await text(page, "main"));
      }, 60_000);
      visit.complaints.length = 0;
    },
  ],
  [
    "a_daemon_that_stands_still_is_told_and_so_is_its_return",
    async (visit) => {
      const page = await visit.open("/");
      await visit.world.ask("stall");
      try {
        await until("the page to tell", async () => SAYS_SINCE_WHEN.test(await stale(page)), 60_000);
      } finally {
        await visit.world.ask("resume");
      }
      await until("the page to be fresh again", async () => (await stale(page)) === "", 60_000);
      visit.complaints.length = 0;
    },
  ],
  [
    "a_daemon_that_died_is_told_and_so_is_its_return",
    async (visit) => {
      const page = await visit.open("/");
      await page.evaluate(() => {
        globalThis.isTheSame = true;
      });
      await visit.world.ask("kill");
      let said;
      try {
        said = await until("the page to tell", async () => {
          const said = await stale(page);
          return SAYS_SINCE_WHEN.test(said) && said;
        }, 60_000);
        assert.match(await text(page, "main"), /payments-api/, "what was seen stays");
      } finally {
        await visit.world.ask("start");
      }
      await until("the page to be fresh again", async () => (await stale(page)) === "", 60_000);
      visit.complaints.length = 0;
      return said;
    },
  ],
];
