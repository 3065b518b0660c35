// @segment/analytics-next in headless Chromium against a cdpd on another origin, so that CORS is really exercised.
// usage: node segment-browser.mjs URL KEY USER single|batch
// Prints one JSON line {errors, confirmed, escaped}; exits 1 when the SDK or the browser reported an error.
import { createReadStream, existsSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [url, writeKey, userId, mode] = process.argv.slice(2);
const sdk = new URL('./node_modules/@segment/analytics-next/dist/umd/', import.meta.url).pathname;
const errors = [];
const escaped = [];
const html = '<!doctype html><title>Shop</title><script src="/sdk/index.js"></script>';

const pages = createServer((request, response) => {
  const path = new URL(request.url, 'http://x').pathname;
  const file = join(sdk, path.replace('/sdk/', ''));
  if (path.startsWith('/sdk/') && !path.includes('..') && existsSync(file)) {
    response.writeHead(200, { 'Content-Type': 'text/javascript' });
    return createReadStream(file).pipe(response);
  }
  response.writeHead(path === '/favicon.ico' ? 204 : 200, { 'Content-Type': 'text/html; charset=utf-8' });
  response.end(path === '/favicon.ico' ? undefined : html);
});
await new Promise(resolve => pages.listen(0, '127.0.0.1', resolve));
const origin = `http://localhost:${pages.address().port}`;
const profile = mkdtempSync(join(tmpdir(), 'cdpd-chromium-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
});

async function drive({ server, apiHost, writeKey, userId, mode }) {
  const errors = [];
  const integration = { apiHost, protocol: 'http' };
  if (mode === 'batch') integration.deliveryStrategy = { strategy: 'batching', config: { size: 10, timeout: 500 } };
  const analytics = window.AnalyticsNext.AnalyticsBrowser.load({ writeKey, cdnURL: server }, mode === 'batch' ? { integrations: { 'Segment.io': integration } } : {});
  const [instance] = await analytics;
  instance.on('error', error => errors.push(`${error.code}: ${error.reason?.message ?? error.reason}`));
  const contexts = await Promise.all([
    instance.page('Docs', 'Home'), instance.track('Product Viewed', { sku: 'G-32' }),
    instance.identify(userId, { email: `${userId}@example.com`, plan: 'premium' }), instance.track('Order Completed', { total: 27.5 }),
    instance.screen('Main'), instance.group('group-1', { name: 'Initech' }), instance.alias(userId, `${userId}-old`),
  ]);
  await new Promise(resolve => setTimeout(resolve, mode === 'batch' ? 1500 : 500));
  return { errors, confirmed: contexts.map(context => context.event.messageId) };
}

let confirmed = [];
try {
  const page = browser.pages()[0] ?? (await browser.newPage());
  page.on('request', request => { const to = request.url(); if (/^https?:/.test(to) && !to.startsWith(url) && !to.startsWith(origin)) escaped.push(to.split('?')[0]); });
  page.on('pageerror', error => errors.push(`page: ${error.message}`));
  page.on('response', response => { if (response.url().startsWith(url) && response.status() >= 400) errors.push(`${response.url()} answered ${response.status()}`); });
  page.on('requestfailed', request => { if (request.url().startsWith(url)) errors.push(`${request.method()} ${request.url()} failed: ${request.failure()?.errorText}`); });
  await page.goto(`${origin}/?utm_source=newsletter&utm_medium=email&utm_campaign=autumn`, { waitUntil: 'load' });
  const result = await page.evaluate(drive, { server: url, apiHost: `${new URL(url).host}/v1`, writeKey, userId, mode });
  errors.push(...result.errors);
  confirmed = result.confirmed;
} catch (error) {
  errors.push(String(error));
}
await browser.close();
pages.close();
rmSync(profile, { recursive: true, force: true });
if (escaped.length) errors.push(`called outside: ${escaped[0]}`);
writeSync(1, `${JSON.stringify({ errors, confirmed, escaped })}\n`); // whole, also into a pipe
process.exit(errors.length ? 1 : 0);
