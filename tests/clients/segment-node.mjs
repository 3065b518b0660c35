// @segment/analytics-node against a cdpd. usage: node segment-node.mjs URL KEY USER EXTRA
// Prints one JSON line {errors, confirmed: [messageId…], retried}; exits 1 when the SDK reported an error.
import { writeSync } from 'node:fs';
import { Analytics } from '@segment/analytics-node';

const [url, writeKey, userId, extra] = process.argv.slice(2);
const anonymousId = `${userId}-visitor`;
const errors = [];
const confirmed = [];
const statuses = [];
const analytics = new Analytics({ writeKey, host: url, path: '/v1/batch', maxRetries: 5, flushAt: 15, flushInterval: 500 });
analytics.on('error', error => errors.push(`${error.code}: ${error.reason?.message ?? error.reason}`));
analytics.on('http_response', response => statuses.push(response.status));
const done = (error, context) => (error ? errors.push(String(error)) : confirmed.push(context.event.messageId));

analytics.page({ anonymousId, name: 'Home', category: 'Docs', properties: { url: 'https://shop.example/', path: '/', title: 'Shop' } }, done);
analytics.screen({ anonymousId, name: 'Main', properties: { variant: 'b' } }, done);
analytics.identify({ userId, anonymousId, traits: { email: `${userId}@example.com`, name: 'Peter G', plan: 'premium', logins: 5, address: { city: 'Москва' } } }, done);
analytics.track({ userId, event: 'Order Completed', timestamp: new Date(Date.now() - 60000), properties: { order_id: 'o-1', total: 27.5, products: [{ sku: 'G-32', price: 19, quantity: 1 }] } }, done);
analytics.group({ userId, groupId: 'group-1', traits: { name: 'Initech', employees: 329 } }, done);
analytics.alias({ userId, previousId: `${userId}-old` }, done);
for (let i = 0; i < Number(extra); i++) analytics.track({ userId, event: 'Extra', properties: { i } }, done);
await analytics.closeAndFlush({ timeout: 30000 });
if (confirmed.length !== 6 + Number(extra) && !errors.length) errors.push(`only ${confirmed.length} events were confirmed`);
writeSync(1, `${JSON.stringify({ errors, confirmed, statuses })}\n`); // whole, also into a pipe
process.exit(errors.length ? 1 : 0);
