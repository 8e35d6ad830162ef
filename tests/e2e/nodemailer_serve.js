// nodemailer_serve.js - nodemailer's smtp-server as a next hop: keeps what it gets.
//
// usage: NODE_PATH=… node nodemailer_serve.js '{"port": 2525, "folder": "…", "options": {…}, "users": {"ann": "secret"}}'
// Each message becomes folder/N.eml, its envelope folder/N.json. Prints "ready" when it listens. Mail to refused@… is refused.
const fs = require("fs");
const path = require("path");
const { SMTPServer } = require("smtp-server");

const { port, folder, options, users } = JSON.parse(process.argv[2]);
let count = 0;
const server = new SMTPServer({
  ...options,
  authOptional: users === undefined,
  onAuth(auth, session, done) {
    const good = users !== undefined && users[auth.username] === auth.password;
    done(good ? null : new Error("wrong user or password"), good ? { user: auth.username } : undefined);
  },
  onRcptTo(address, session, done) {
    if (!address.address.startsWith("refused@")) return done();
    const error = new Error("no such mailbox");
    error.responseCode = 550;
    done(error);
  },
  onData(stream, session, done) {
    const chunks = [];
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("end", () => {
      const name = path.join(folder, String(count++));
      fs.writeFileSync(name + ".eml", Buffer.concat(chunks));
      fs.writeFileSync(name + ".part", JSON.stringify({ ...session.envelope, user: session.user, secure: session.secure, mode: session.transmissionType }));
      fs.renameSync(name + ".part", name + ".json");
      done(null, "taken as " + name);
    });
  },
});
server.on("error", (e) => console.error(e.message));
server.listen(port, "127.0.0.1", () => console.log("ready"));
