// Verifies requests that the webhook destination made: node standard-webhooks.mjs REQUESTS.json SECRET. And sees that one changed byte is found out.
import {readFileSync} from 'node:fs';
import {Webhook} from 'standardwebhooks';

const webhook = new Webhook(process.argv[3]);
const answer = {verified: 0, forged: 0};
for (const {headers, body} of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
	webhook.verify(body, headers);
	answer.verified++;
	try {
		webhook.verify(body + ' ', headers);
		answer.forged++;
	} catch {
		// as it must be
	}
}
console.log(JSON.stringify(answer));
