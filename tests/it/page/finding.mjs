// What a reader finds on the pages, and how.

import { assert, text, until } from "./world.mjs";

/** The checks that the overview lists, in order, with their status. */
const listed = (page) =>
  page.$$eval("[data-check]", (rows) => rows.map((it) => [it.dataset.check, it.dataset.status]));

const names = async (page) => (await listed(page)).map(([name]) => name);

/** Waits until the overview lists these and no other. */
const lists = (page, wanted) =>
  until(`a list of ${wanted}`, async () => String((await names(page)).sort()) === String(wanted));

const query = (page) => Object.fromEntries(new URL(page.url()).searchParams);

/** Follows the link in the content that says `words`. */
async function followLink(page, words) {
  // Found and clicked at once: a page that is read anew replaces its links.
  const [, found] = await Promise.all([
    page.waitForNavigation(),
    page.evaluate((words) => {
      const says = (link) => new RegExp(words).test(link.textContent.trim());
      const link = [...document.querySelectorAll("main a")].find(says);
      link?.click();
      return link !== undefined;
    }, words),
  ]);
  assert.ok(found, `no link says ${words}`);
}

export const promises = [
  [
    "the_overview_says_in_words_how_things_are",
    async (visit) => {
      const page = await visit.open("/");
      assert.equal(page.answer.status(), 200);
      assert.match(await text(page, "h1"), /2 checks are down/);
      assert.match(await page.title(), /2 checks are down/);
      const main = await text(page, "main");
      assert.ok(main.search(/needs attention/i) < main.indexOf("storefront"), "attention first");
      assert.match(main, /status == 200 failed: status is 503/);
      assert.match(main, /acknowledged by ann/);
    },
  ],
  [
    "what_needs_attention_leads_to_the_check_and_to_the_incident",
    async (visit) => {
      const page = await visit.open("/");
      const links = await page.$$eval(".attention a", (all) => all.map((it) => it.getAttribute("href")));
      assert.ok(links.includes("/checks/payments-api"), String(links));
      const incident = links.find((it) => it.startsWith("/incidents/"));
      const other = await visit.open(incident);
      assert.equal(other.answer.status(), 200);
    },
  ],
  [
    "filters_stand_in_the_address",
    async (visit) => {
      const page = await visit.open("/");
      await followLink(page, "^Down");
      assert.equal(query(page).status, "down");
      assert.deepEqual((await names(page)).sort(), ["feed-trades", "payments-api"]);

      await page.goto(`${visit.world.shop}/?label=team%3Dpayments&kind=http`);
      const payments = ["card-gateway", "checkout", "fraud-scores", "payments-api"];
      assert.deepEqual((await names(page)).sort(), payments);

      await page.goto(`${visit.world.shop}/`);
      await page.select("select[name=label]", "team=chain");
      await page.select("select[name=kind]", "rpc");
      await lists(page, ["eth-archive", "eth-node-1", "eth-node-2"]);
      assert.equal(query(page).label, "team=chain");
      await page.reload();
      // Who comes back finds what was chosen.
      assert.equal(await page.$eval("select[name=kind]", (it) => it.value), "rpc");
    },
  ],
  [
    "the_search_finds_and_says_when_it_does_not",
    async (visit) => {
      const page = await visit.open("/");
      await page.type("input[type=search]", "postgres");
      await page.keyboard.press("Enter");
      await lists(page, ["postgres-primary", "postgres-replica"]);
      assert.equal(query(page).q, "postgres");
      const none = await visit.open("/?q=nothing-is-called-so");
      assert.deepEqual(await names(none), []);
      assert.match(await text(none, "main"), /no check fits/i);
    },
  ],
  [
    "checks_stand_in_groups",
    async (visit) => {
      const groups = async (path) => {
        const page = await visit.open(path);
        return page.$$eval(".group h3", (all) => all.map((it) => it.textContent.trim().split(" ").pop()));
      };
      const teams = ["chain", "payments", "platform", "storefront"];
      assert.deepEqual((await groups("/?group=team")).sort(), teams);
      assert.deepEqual((await groups("/?group=tier")).sort(), ["critical", "internal"]);
      assert.deepEqual(await groups("/?group="), []);
      assert.ok((await groups("/")).length > 1, "there are groups where nobody asks");
    },
  ],
  [
    "many_checks_come_in_pieces_the_worst_first",
    async (visit) => {
      const page = await visit.open("/?group=", { base: visit.world.many });
      const first = await listed(page);
      const rank = { down: 0, degraded: 1, unknown: 2, up: 3 };
      const ranks = first.map(([, status]) => rank[status]);
      assert.deepEqual(ranks, [...ranks].sort());
      await followLink(page, "^Next");
      const second = await listed(page);
      assert.equal(new Set([...first, ...second].map(([name]) => name)).size, 200);
    },
  ],
  [
    "a_check_shows_its_uptime_and_its_past",
    async (visit) => {
      const page = await visit.open("/?q=search&kind=http");
      const row = await page.$$eval("[data-check=search] td", (all) => all.map((it) => it.lastChild.textContent));
      assert.equal(row.filter((said) => /^[\d.]+%$/.test(said.trim())).length, 4, String(row));
      const strips = await page.$$eval("[data-check=search] svg.strip", (all) =>
        all.map((it) => [it.getAttribute("aria-label"), it.querySelectorAll("title").length]),
      );
      assert.equal(strips.length, 2);
      for (const [label, titles] of strips) assert.ok(label && titles > 0, String(strips));
      const storefront = await visit.open("/?q=storefront&kind=http");
      assert.match(await text(storefront, "[data-check=storefront]"), /cert.* d/);
    },
  ],
  [
    "arrows_walk_through_a_strip",
    async (visit) => {
      const page = await visit.open("/?q=search&kind=http");
      const days = await page.waitForSelector("[data-check=search] svg.days");
      await days.evaluate((it) => it.focus());
      const said = () => page.$eval(".tip", (it) => (it.hidden ? "" : it.innerText));
      const seen = new Set();
      for (let steps = 0; steps < 5; steps += 1) {
        await page.keyboard.press("ArrowLeft");
        seen.add(await until("the card", said));
      }
      assert.ok(seen.size >= 4, [...seen].join(" | "));
      await page.keyboard.press("Escape");
      await until("the card to go", async () => !(await page.$(".tip:not([hidden])")));
    },
  ],
  [
    "a_card_comes_at_a_pointer_and_a_click_pins_it",
    async (visit) => {
      const page = await visit.open("/?q=search&kind=http");
      const days = await page.waitForSelector("[data-check=search] svg.days");
      const box = await days.boundingBox();
      const over = (share) => page.mouse.move(box.x + box.width * share, box.y + box.height / 2);
      const card = () => page.$eval(".tip:not([hidden])", (it) => it.innerText);
      await over(0.6);
      const one = await until("a card", card);
      await over(0.8);
      await until("another card", async () => (await card()) !== one);
      await page.mouse.click(box.x + box.width * 0.8, box.y + box.height / 2);
      const pinned = await until("a pinned card", () => page.$eval(".tip.pinned", (it) => it.innerText));
      await over(0.3);
      await page.mouse.move(5, 5);
      assert.equal(await card(), pinned);
    },
  ],
  [
    "a_check_page_tells_all_about_the_check",
    async (visit) => {
      const page = await visit.open("/checks/payments-api");
      assert.equal(page.answer.status(), 200);
      assert.match(await text(page, "h1"), /payments-api/);
      const main = await text(page, "main");
      for (const words of [/down/i, /status is 503/, /p95/i, /90 d/i, /\[check\.http\]/, /next run/i]) {
        assert.match(main, words);
      }
      const links = await page.$$eval("main a", (all) => all.map((it) => it.getAttribute("href")));
      assert.ok(links.some((it) => it.startsWith("/incidents/")), String(links));
    },
  ],
  [
    "a_year_of_days_leads_to_each_of_them_and_maintenance_is_shaded",
    async (visit) => {
      const page = await visit.open("/checks/search?span=7d", { script: false });
      assert.ok(await page.$("main figure svg .band.maintenance"), "no maintenance in the chart");
      assert.match(await text(page, "main figure"), /maintenance/i);
      const days = await page.$$eval(".calendar a", (all) => all.map((it) => it.getAttribute("href")));
      assert.ok(days.length > 0 && days.every((it) => it.startsWith("/checks/search?")), String(days));
      assert.match(await page.$eval(".calendar", (it) => it.getAttribute("aria-label")), /\d/);
      const day = await page.goto(new URL(days[0], page.url()).href);
      assert.equal(day.status(), 200);
    },
  ],
  [
    "each_span_of_the_chart_is_a_link_and_has_a_line",
    async (visit) => {
      const page = await visit.open("/checks/search");
      for (const span of ["1h", "6h", "24h", "7d", "30d", "90d", "1y"]) {
        const there = await page.$$eval("main a", (all, span) =>
          all.some((it) => it.textContent.trim() === span), span);
        assert.ok(there, `no link to ${span}`);
        const other = await visit.open(`/checks/search?span=${span}`, { script: false });
        assert.equal(other.answer.status(), 200);
        const drawn = await other.$$eval("main svg path", (all) =>
          Math.max(...all.map((it) => (it.getAttribute("d") ?? "").length)));
        assert.ok(drawn > 40, `${span}: nothing is drawn`);
        await other.close();
      }
    },
  ],
  [
    "no_page_shows_a_secret",
    async (visit) => {
      for (const path of ["/checks/fraud-scores", "/", "/notices", "/status"]) {
        const page = await visit.open(path);
        const html = await page.content();
        assert.ok(!html.includes("sk-live"), `${path} shows a secret`);
      }
    },
  ],
  [
    "an_incident_tells_its_story",
    async (visit) => {
      const { items } = await visit.world.api("/api/v1/incidents?state=resolved");
      const { id } = items.find((it) => it.check === "search");
      const page = await visit.open(`/incidents/${id}`);
      const main = await text(page, "main");
      for (const words of [/search/, /resolved/i, /first .* verdict|first failure/i, /ops-chat/, /sent/]) {
        assert.match(main, words);
      }
      const href = await page.$eval("a[href$='.md']", (it) => it.href);
      const markdown = await fetch(href);
      assert.equal(markdown.status, 200);
      assert.match(await markdown.text(), /^# /m);
    },
  ],
  [
    "notices_tell_what_waits_and_why",
    async (visit) => {
      const page = await visit.open("/notices?state=pending");
      const main = await text(page, "main");
      assert.match(main, /ops-mail/);
      assert.match(main, /503/);
    },
  ],
  [
    "the_status_page_tells_nothing_of_the_inside",
    async (visit) => {
      const page = await visit.open("/status");
      const html = await page.content();
      for (const name of ["checkout", "payments-api", "storefront"]) assert.ok(html.includes(name), name);
      const secrets = /fraud-scores|127\.0\.0\.1|status is 503|redis|\bann\b|ops-chat/;
      assert.doesNotMatch(await text(page), secrets);
    },
  ],
  [
    "times_are_those_of_the_reader",
    async (visit) => {
      const { items } = await visit.world.api("/api/v1/incidents?state=open");
      const { id } = items.find((it) => it.check === "payments-api");
      const page = await visit.open(`/incidents/${id}`, { zone: "Asia/Kolkata" });
      const [exact, shown, title] = await page.$eval("time.clock", (it) => [
        it.dateTime,
        it.innerText,
        it.title,
      ]);
      const minutes = new Date(new Date(exact).getTime() + 5.5 * 3600e3).toISOString().slice(14, 16);
      assert.ok(shown.includes(`:${minutes}`), `${exact} is shown as ${shown}`);
      assert.ok(title.length > shown.length, `${title} says no more than ${shown}`);
    },
  ],
];
