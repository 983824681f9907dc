// matrix-js-sdk with its Rust crypto: two users, one with two devices, talk plainly and encrypted, scroll back, see
// typing and receipts. Needs Node 20 or newer: `npm install`, then `node talk.mjs http://127.0.0.1:8008`.
import sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

const url = process.argv[2] ?? "http://127.0.0.1:8008";
const password = "correct horse battery";
const run = Date.now().toString(36);
logger.disableAll?.();

function step(text) {
  console.log(`${new Date().toISOString()} ${text}`);
}

async function start(credentials) {
  const client = sdk.createClient({
    baseUrl: url,
    userId: credentials.user_id,
    deviceId: credentials.device_id,
    accessToken: credentials.access_token,
  });
  await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit: 20, pollTimeout: 5000 });
  await until("the first sync", () => client.isInitialSyncComplete());
  return client;
}

async function register(name) {
  const client = sdk.createClient({ baseUrl: url });
  return start(await client.registerRequest({ username: name, password, auth: { type: "m.login.dummy" } }));
}

async function login(userId, deviceName) {
  const client = sdk.createClient({ baseUrl: url });
  return start(
    await client.loginRequest({
      type: "m.login.password",
      identifier: { type: "m.id.user", user: userId },
      password,
      initial_device_display_name: deviceName,
    }),
  );
}

async function until(what, found, seconds = 30) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await found();
    if (result) return result;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function event(client, roomId, body) {
  const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
  return events.find((e) => e.getContent().body === body);
}

async function received(client, roomId, body) {
  return until(`${client.getUserId()} receives "${body}"`, () => event(client, roomId, body));
}

const clients = [];
try {
  const alice = await register(`alice_${run}`);
  const bob = await register(`bob_${run}`);
  const phone = await login(bob.getUserId(), "phone");
  clients.push(alice, bob, phone);
  step(`logged in: ${alice.getUserId()}, ${bob.getUserId()} on ${bob.getDeviceId()} and ${phone.getDeviceId()}`);

  const plain = (await alice.createRoom({ name: "Plain", invite: [bob.getUserId()], preset: "private_chat" })).room_id;
  const secret = (
    await alice.createRoom({
      name: "Secret",
      invite: [bob.getUserId()],
      preset: "private_chat",
      initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    })
  ).room_id;
  for (const room of [plain, secret]) {
    await until("the invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
    await bob.joinRoom(room);
  }
  for (const client of clients) await until("the rooms", () => client.getRoom(secret)?.getJoinedMemberCount() === 2);
  step("bob was invited to both rooms and joined them");

  await alice.sendTextMessage(plain, "in the open");
  for (const client of [bob, phone]) await received(client, plain, "in the open");
  step("a plain message arrived on both devices of bob");

  await alice.sendTextMessage(secret, "a secret");
  for (const client of [bob, phone]) {
    const found = await received(client, secret, "a secret");
    if (!found.isEncrypted()) throw new Error("it was not encrypted");
  }
  await phone.sendTextMessage(secret, "kept");
  for (const client of [alice, bob]) await received(client, secret, "kept");
  step("encrypted messages arrived on every device, in both directions");

  await bob.sendTyping(plain, true, 10000);
  await until("typing", () => alice.getRoom(plain).getMember(bob.getUserId()).typing);
  await bob.sendReadReceipt(event(bob, plain, "in the open"));
  const id = event(alice, plain, "in the open").getId();
  await until("the receipt", () => alice.getRoom(plain).getEventReadUpTo(bob.getUserId()) === id);
  step("typing and the read receipt arrived");

  for (let n = 0; n < 40; n++) await alice.sendTextMessage(plain, `line ${n}`);
  const late = await login(bob.getUserId(), "tablet");
  clients.push(late);
  while (await late.scrollback(late.getRoom(plain), 30).then((room) => room.oldState.paginationToken));
  const bodies = late.getRoom(plain).getLiveTimeline().getEvents().map((e) => e.getContent().body);
  if (!bodies.includes("in the open") || !bodies.includes("line 0")) throw new Error("scrolling back lost messages");
  step("a new device scrolled back to the beginning of the room");
  step("all of it worked");
} finally {
  for (const client of clients) client.stopClient();
}
process.exit(0);
