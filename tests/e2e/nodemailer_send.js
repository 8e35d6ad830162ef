// nodemailer_send.js - sends messages with nodemailer's own client.
//
// usage: NODE_PATH=… node nodemailer_send.js '{"transport": {…}, "messages": [{…}, …]}'
// Prints one JSON object a message: what nodemailer says of it, or its error.
const nodemailer = require("nodemailer");

async function main() {
  const { transport, messages } = JSON.parse(process.argv[2]);
  const client = nodemailer.createTransport(transport);
  for (const message of messages) {
    try {
      const { accepted, rejected, response } = await client.sendMail(message);
      console.log(JSON.stringify({ accepted, rejected, response }));
    } catch (e) {
      console.log(JSON.stringify({ error: e.message, code: e.code, reply: e.responseCode }));
    }
  }
  client.close();
}

main();
