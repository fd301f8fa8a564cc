import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { until } from "../../support/until.js";
import { type FakeStatus, fakeCluster, fakeDatanode, serveFake } from "./fake.js";

const CHROMIUM = "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

describe("the status page in a browser", function () {
  this.timeout(60_000);
  let profile: string;
  let browser: BrowserContext;
  let page: Page;
  let status: FakeStatus;
  let server: Awaited<ReturnType<typeof serveFake>>;
  let errors: string[];
  let requests: string[];

  before(async () => {
    if (!existsSync(CHROMIUM)) {
      throw new Error(`the page is tested in ${CHROMIUM}, which is missing: apt-get install chromium`);
    }
    profile = mkdtempSync(join(tmpdir(), "cairn-page-"));
    browser = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: FLAGS });
  });
  after(async () => {
    await browser?.close();
    if (profile) rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });

  beforeEach(async () => {
    status = fakeCluster(4);
    server = await serveFake({ status: () => status });
    [errors, requests] = [[], []];
    page = await browser.newPage();
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (err) => errors.push(err.message));
    page.on("request", (request) => requests.push(request.url()));
  });
  afterEach(async () => {
    await page.close();
    await server.close();
  });

  const open = async () => {
    await page.goto(server.url);
    await page.waitForSelector('#link[data-state="live"]');
  };
  // biome-ignore lint/performance/useDomNodeTextContent: what is seen is what is tested
  const text = (selector: string) => page.locator(selector).innerText();
  const shows = (selector: string, wanted: string | RegExp) =>
    until(
      async () => {
        const got = await text(selector);
        return typeof wanted === "string" ? got === wanted : wanted.test(got);
      },
      { timeoutMs: 10_000, what: `${selector} to show ${wanted}` },
    );
  const row = (address: string) => `tbody tr:has(.name:text-is("${address}"))`;

  it("shows the cluster, with no error and nothing from outside", async () => {
    status.events = [{ timeMs: Date.now(), severity: "error", message: "Datanode 9 is dead" }];
    await open();
    expect(await page.title()).to.equal("Healthy – CairnFS");
    expect(await text("#health-summary")).to.equal("Healthy");
    expect(await text("#n-files")).to.equal("1,204,817");
    expect(await text("#n-missing")).to.equal("0");
    expect(await text("#space-of")).to.match(/^of 4\.00 TiB used, \d+%$/);
    expect(await page.locator("tbody tr").count()).to.equal(4);
    const cells = await text(row("10.20.0.11:9864"));
    expect(cells)
      .to.contain("Live")
      .and.contain("/rack2")
      .and.match(/\d s ago/)
      .and.contain("3,643");
    expect(await text("#events li")).to.match(/\d\d:\d\d:\d\d\s+Datanode 9 is dead/);
    const used = await page.locator("#space-bar .used").evaluate((e) => e.getBoundingClientRect().width);
    const whole = await page.locator("#space-bar").evaluate((e) => e.getBoundingClientRect().width);
    expect(used / whole).to.be.closeTo(status.used / status.capacity, 0.01);
    expect(errors).to.deep.equal([]);
    expect(requests.length).to.be.greaterThan(4);
    for (const url of requests) expect(url.startsWith(`${server.url}/`), url).to.equal(true);
  });

  it("follows the cluster without being loaded again", async () => {
    await open();
    await page.evaluate(() => Object.assign(globalThis, { loadedOnce: true }));
    const address = "10.20.0.12:9864";
    status.datanodes[1] = { ...status.datanodes[1]!, state: "dead" };
    Object.assign(status, { underReplicated: 12, pendingReplications: 12 });
    status.events = [{ timeMs: Date.now(), severity: "error", message: `Datanode 2 (${address}) is dead` }];
    await shows(`${row(address)} .badge`, "Dead");
    expect(await text("tbody tr:first-child .name")).to.equal(address); // the worst comes first
    await shows("#health-summary", "12 blocks under-replicated, re-replicating");
    await shows("#events li", /Datanode 2 .* is dead/);
    expect(await text("#nodes-counts")).to.equal("3 live · 1 dead");

    Object.assign(status, { underReplicated: 0, pendingReplications: 0 });
    status.datanodes.push(fakeDatanode(5));
    status.events.unshift({ timeMs: Date.now(), severity: "info", message: "Re-replication finished" });
    await shows("#health-summary", "1 datanode dead");
    await shows("#events li:first-child", /Re-replication finished/);
    expect(await page.locator("#events li").count()).to.equal(2);
    expect(await page.locator("tbody tr").count()).to.equal(5);
    status.datanodes = status.datanodes.filter((d) => d.address.id !== 2);
    await shows("#health-summary", "Healthy");
    expect(await page.locator(row(address)).count()).to.equal(0);
    expect(await page.evaluate(() => "loadedOnce" in globalThis)).to.equal(true);
    expect(errors).to.deep.equal([]);
  });

  it("counts the seconds since a heartbeat by the namenode's clock", async () => {
    status.datanodes[0]!.lastHeartbeatMs = Date.now() - 3_600_000 * 5 - 60_000;
    await open();
    const heartbeat = `${row("10.20.0.12:9864")} td:nth-child(4)`;
    expect(await text(`${row("10.20.0.11:9864")} td:nth-child(4)`)).to.equal("5 h ago");
    const before = Number.parseInt(await text(heartbeat), 10);
    await until(async () => Number.parseInt(await text(heartbeat), 10) > before, { what: "the age to grow" });
  });

  it("says so when the namenode is gone, and comes back by itself", async () => {
    await open();
    await server.close();
    await page.waitForSelector('#link[data-state="lost"]');
    expect(await text("#lost")).to.match(/^Connection to the namenode lost at \d\d:\d\d:\d\d\. What you see/);
    status.files = 77;
    server = await serveFake({ status: () => status }, server.port);
    await shows("#n-files", "77");
    expect(await page.locator("#lost").isVisible()).to.equal(false);
    expect(await text("#link")).to.equal("Live");
  });

  it("tells a newcomer how to start a datanode", async () => {
    status = fakeCluster(0);
    await open();
    expect(await text("#health-summary")).to.equal("No datanodes yet");
    expect(await text("#nodes-command")).to.contain(`cairn datanode --namenode ${server.url} --data-dir `);
    expect(await page.locator("#nodes-table").isVisible()).to.equal(false);
    status = fakeCluster(1);
    await page.waitForSelector(row("10.20.0.11:9864"));
    expect(await page.locator("#nodes-empty").isVisible()).to.equal(false);
  });

  it("takes everything it is told as text", async () => {
    const evil = `<img src=x onerror="document.title='owned'">`;
    const { address } = status.datanodes[0]!;
    status.datanodes[0] = fakeDatanode(1, {
      address: { ...address, host: evil, rack: evil },
      state: evil,
      version: evil,
      volumes: [{ path: evil, failed: true, error: evil }],
    });
    status.events = [{ timeMs: 0, severity: evil, message: evil }];
    Object.assign(status, { cluster: evil, version: evil });
    await open();
    expect(await text("#events li")).to.contain(evil);
    expect(await text(`${row(`${evil.replaceAll('"', '\\"')}:9864`)} .trouble`)).to.contain(evil);
    expect(await page.locator("main img").count()).to.equal(0);
    expect(await page.title()).to.contain("CairnFS");
    expect(errors).to.deep.equal([]);
  });

  it("stays quick and small with 1,000 datanodes, and finds any of them", async () => {
    status = fakeCluster(1000);
    status.datanodes[700]!.state = "dead";
    await open();
    expect(await page.locator("tbody tr").count()).to.equal(100);
    expect(await text("tbody tr:first-child .badge")).to.equal("Dead");
    expect(await text("#nodes-more-text")).to.equal("100 of 1,000 datanodes shown.");
    await page.locator("#nodes-more-button").click();
    expect(await page.locator("tbody tr").count()).to.equal(200);
    await page.keyboard.press("Shift+Tab"); // the filter is reached by keyboard
    await page.keyboard.type("10.20.4.19 live");
    await until(async () => (await page.locator("tbody tr").count()) === 11, { what: "the 11 matches" });
    expect(await page.locator("tbody .name").allInnerTexts()).to.include("10.20.4.190:9864");
    expect(await page.locator("#nodes-more").isVisible()).to.equal(false);
    await page.locator("#nodes-filter").fill("no such machine");
    await shows("#nodes-more-text", "No datanode matches.");
  });

  it("fits a telephone, in light and dark", async () => {
    status.datanodes[0]!.volumes = [{ path: "/data/1", failed: true, error: "EIO: input/output error" }];
    status.datanodes[1]!.address.host = "a-machine-with-quite-a-long-name.in-a-rack.of-a-data-centre.example.org";
    await page.setViewportSize({ width: 380, height: 800 });
    const grounds: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await open();
      expect(await page.evaluate("document.documentElement.scrollWidth")).to.equal(380);
      grounds.push(String(await page.evaluate("getComputedStyle(document.body).backgroundColor")));
    }
    expect(grounds[0]).not.to.equal(grounds[1]);
  });
});
