// What a person does on the pages: by a form, by the keyboard, with scripts and without.

import { assert, signIn, text, until } from "./world.mjs";

/** Presses the button in the content that says `label`, and waits for the page that comes. */
async function press(page, label) {
  const button = await until(`a button that says ${label}`, async () => {
    for (const button of await page.$$("main form button")) {
      const said = await button.evaluate((it) => it.textContent.trim());
      if (said.toLowerCase().startsWith(label.toLowerCase())) return button;
    }
  });
  await Promise.all([page.waitForNavigation(), button.evaluate((it) => it.click())]);
}

/** Acknowledges, takes it back, pauses, resumes, and signs out. */
async function act(visit, options) {
  const { world } = visit;
  const { items } = await world.api("/api/v1/incidents?state=open");
  const { id } = items.find((it) => it.check === "feed-trades");
  const page = await signIn(visit, world.key, options);
  assert.match(await text(page, "header"), /sign out/i);
  await page.goto(`${world.shop}/incidents/${id}`);
  const incident = () => world.api(`/api/v1/incidents/${id}`);
  await press(page, "Acknowledge");
  assert.ok((await incident()).acknowledged, "acknowledged");
  await press(page, "Give it back");
  assert.equal((await incident()).acknowledged, null);

  await press(page, "Snooze");
  assert.match(await text(page, "main"), /snoozed/i);
  await press(page, "Silence");
  const silences = async () =>
    (await world.api("/api/v1/silences")).items.filter((it) => it.state === "active").length;
  assert.equal(await silences(), 1);
  await page.goto(`${world.shop}/notices`);
  await press(page, "End it");
  assert.equal(await silences(), 0);

  await page.goto(`${world.shop}/checks/fraud-scores`);
  const check = () => world.api("/api/v1/checks/fraud-scores");
  await press(page, "Pause");
  assert.ok((await check()).paused, "paused");
  await press(page, "Resume");
  assert.ok(!(await check()).paused, "not paused");
  const before = (await check()).last_run;
  await press(page, "Run now");
  await until("another run", async () => (await check()).last_run > before);
  await Promise.all([
    page.waitForNavigation(),
    page.evaluate(() => document.querySelector("form[action='/sign-out']").requestSubmit()),
  ]);
  assert.match(await text(page, "header"), /sign in/i);
}

/** What has the focus: its words, its address, its name. */
const focus = (page) =>
  page.evaluate(() => {
    const it = document.activeElement;
    const { x, y, width, height } = it.getBoundingClientRect();
    const style = getComputedStyle(it);
    return {
      tag: it.localName,
      id: it.id,
      type: it.type,
      text: it.textContent.trim(),
      href: it.getAttribute("href"),
      label: it.getAttribute("aria-label"),
      isOnScreen: width > 0 && height > 0 && x + width > 0 && y + height > 0 && y < innerHeight,
      isMarked: style.outlineStyle !== "none" || style.boxShadow !== "none",
    };
  });

export const promises = [
  [
    "a_wrong_key_is_refused_in_words",
    async (visit) => {
      const page = await signIn(visit, "wb_not_the_key_0123456789abcdefghijklmnop");
      assert.match(await text(page, "main"), /key/i);
      assert.ok(await page.$("main input[type=password]"), "one may try again");
      const cookies = await visit.context.cookies();
      assert.deepEqual(cookies.filter((it) => it.value.length > 20), []);
    },
  ],
  [
    "the_cookie_is_out_of_reach_and_not_the_key",
    async (visit) => {
      const page = await signIn(visit, visit.world.key);
      assert.equal(await page.evaluate(() => document.cookie), "");
      const cookies = await visit.context.cookies();
      assert.ok(cookies.length > 0);
      for (const cookie of cookies) {
        assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
        assert.ok(!cookie.value.includes(visit.world.key));
      }
    },
  ],
  ["people_act_on_the_pages", (visit) => act(visit, {})],
  ["people_act_without_scripts", (visit) => act(visit, { script: false })],
  [
    "nobody_acts_without_a_key",
    async (visit) => {
      const page = await visit.open("/checks/fraud-scores");
      assert.equal(await page.$("main form[method=post]"), null);
      assert.match(await text(page), /sign in/i);
    },
  ],
  [
    "the_keyboard_leads_from_the_skip_link_to_a_check",
    async (visit) => {
      const page = await visit.open("/");
      await page.keyboard.press("Tab");
      const skip = await focus(page);
      assert.match(skip.text, /skip/i);
      assert.ok(skip.isOnScreen && skip.isMarked, JSON.stringify(skip));
      await page.keyboard.press("Enter");
      let at;
      for (let presses = 0; presses < 60; presses += 1) {
        await page.keyboard.press("Tab");
        at = await focus(page);
        assert.ok(at.isOnScreen && at.isMarked, JSON.stringify(at));
        if (at.href?.startsWith("/checks/")) break;
      }
      assert.match(at.href ?? "", /^\/checks\//, JSON.stringify(at));
      await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
      assert.equal(new URL(page.url()).pathname, at.href.split("?")[0]);
    },
  ],
  [
    "a_slash_leads_to_the_search",
    async (visit) => {
      const page = await visit.open("/");
      await page.keyboard.press("/");
      assert.equal((await focus(page)).type, "search");
      await page.keyboard.type("eth-node");
      await page.keyboard.press("Enter");
      await until("the search", async () => new URL(page.url()).searchParams.get("q") === "eth-node");
      await until("what was found", async () => {
        return (await page.$$("[data-check]")).length === 2 && /eth-node-1/.test(await text(page, "main"));
      });
    },
  ],
];
