// What the pages cost. Times are told, and hold nobody up; points are asked for.

import { assert, load } from "./world.mjs";

const PLENTY = 95;

/**
 * The points of Lighthouse, as a phone on a slow line sees it. Those for speed hang on what else the machine
 * does: they are told, and asked for where `WATCHBELL_PAGE_QUIET` says that it does nothing else.
 */
const points = (path, skipAudits) => async (visit) => {
  const { default: lighthouse } = await load("lighthouse");
  const page = await visit.context.newPage();
  const { lhr } = await lighthouse(
    visit.world.many + path,
    { logLevel: "error", disableFullPageScreenshot: true, skipAudits },
    undefined,
    page,
  );
  assert.equal(lhr.runtimeError, undefined);
  const told = [];
  let fine = true;
  for (const { id, score, auditRefs } of Object.values(lhr.categories)) {
    told.push(`${id} ${Math.round(score * 100)}`);
    const counts = id !== "performance" || visit.world.quiet;
    if (counts && score * 100 < PLENTY) fine = false;
    for (const { id: name, weight } of auditRefs) {
      const { score, displayValue, details } = lhr.audits[name];
      if (weight === 0 || score === null || score >= 0.9) continue;
      const where = (details?.items ?? []).slice(0, 2).map((item) => item.node?.snippet ?? item.url ?? "");
      told.push(`lost by ${name} ${displayValue ?? ""} ${where.join(" ")}`.trim());
    }
  }
  told.push(`the machine has an index of ${Math.round(lhr.environment.benchmarkIndex)}`);
  assert.ok(fine, told.join(", "));
  return told.join(", ");
};

/** How long the daemon takes for a page, in milliseconds: the middle of some tries. */
async function served(url) {
  const took = [];
  let size = 0;
  for (let tries = 0; tries < 5; tries += 1) {
    const began = performance.now();
    const answer = await fetch(url);
    size = (await answer.arrayBuffer()).byteLength;
    took.push(performance.now() - began);
    assert.equal(answer.status, 200);
  }
  return { took: took.sort((a, b) => a - b)[2], size };
}

export const promises = [
  // The overview is not for search engines, on purpose.
  ["lighthouse_is_content_with_the_overview_of_200_checks", points("/", ["is-crawlable"])],
  ["lighthouse_is_content_with_the_status_page_of_200_checks", points("/status", [])],
  [
    "two_thousand_checks_stay_quick",
    async (visit) => {
      const base = visit.world.veryMany;
      const told = [];
      for (const path of ["/", "/?q=service-19", "/?page=20", "/status"]) {
        const { took, size } = await served(base + path);
        told.push(`${path} ${took.toFixed(0)} ms, ${(size / 1024).toFixed(0)} KiB`);
      }
      const page = await visit.open("/", { base });
      await new Promise((done) => setTimeout(done, 1000));
      const seen = await page.evaluate(() => ({
        ...globalThis.seen,
        nodes: document.querySelectorAll("*").length,
      }));
      told.push(`long tasks [${seen.long}] ms, ${seen.nodes} elements`);
      // Not a time: how much there is to lay out.
      assert.ok(seen.nodes < 20_000, told.join("; "));
      return told.join("; ");
    },
  ],
  [
    "all_files_of_the_page_are_small",
    async (visit) => {
      const urls = new Set();
      for (const path of ["/", "/checks/payments-api", "/status"]) {
        const page = await visit.open(path);
        const found = await page.$$eval("script[src], link[href]", (all) =>
          all.filter((it) => it.src || !/canonical|alternate/.test(it.rel)).map((it) => it.src || it.href),
        );
        for (const url of found) urls.add(url);
        await page.close();
      }
      const sizes = {};
      for (const url of urls) {
        assert.ok(url.startsWith(visit.world.shop), `${url} is not of this daemon`);
        const answer = await fetch(url);
        sizes[new URL(url).pathname] = (await answer.arrayBuffer()).byteLength;
        assert.match(answer.headers.get("cache-control"), /immutable/);
      }
      const all = Object.values(sizes).reduce((a, b) => a + b, 0);
      assert.ok(all < 150 * 1024, JSON.stringify(sizes));
      return `${urls.size} files, ${(all / 1024).toFixed(1)} KiB`;
    },
  ],
];
