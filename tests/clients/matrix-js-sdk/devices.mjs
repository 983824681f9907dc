// What every flow needs: accounts and devices at the server of the command line, and waiting for what is to happen.
import sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";
import loglevel from "loglevel";

export { sdk };
export const url = process.argv[2] ?? "http://127.0.0.1:8008";
export const password = "correct horse battery";
const run = Date.now().toString(36);
const clients = [];
if (!process.env.VERBOSE) {
  // Each part of the SDK makes a logger of its own, which prints everything.
  loglevel.methodFactory = () => () => {};
  logger.methodFactory = loglevel.methodFactory;
  logger.rebuild();
}

export function step(text) {
  console.log(`${new Date().toISOString()} ${text}`);
}

export function check(truth, text) {
  if (!truth) throw new Error(text);
}

export function equal(found, expected, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
  check(a === b, `${what}: ${a} instead of ${b}`);
}

export async function until(what, found, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await found();
    if (result) return result;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// The errcode with which a promise is refused.
export async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    if (!error.errcode) throw error;
    return error.errcode;
  }
  throw new Error("it was not refused");
}

// `client.recovery`: the key of secret storage, where the person at this device knows it.
async function begin(credentials, options) {
  const client = sdk.createClient({
    baseUrl: url,
    userId: credentials.user_id,
    deviceId: credentials.device_id,
    accessToken: credentials.access_token,
    timelineSupport: true,
    verificationMethods: ["m.sas.v1"],
    cryptoCallbacks: {
      getSecretStorageKey: async ({ keys }) => (client.recovery ? [Object.keys(keys)[0], client.recovery] : null),
      cacheSecretStorageKey: (_id, _info, key) => (client.recovery = key),
    },
  });
  clients.push(client);
  if (options.prepare) await options.prepare(client);
  await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit: 20, pollTimeout: 5000, threadSupport: true, ...options.start?.(client) });
  await until("the first sync", () => client.isInitialSyncComplete() || client.getSyncState() === "SYNCING");
  return client;
}

export async function register(name, options = {}) {
  const client = sdk.createClient({ baseUrl: url });
  const auth = { type: "m.login.dummy" };
  const body = { username: `${name}_${run}`, password, auth, initial_device_display_name: "laptop" };
  return begin(await client.registerRequest(body), options);
}

export async function login(userId, deviceName, options = {}) {
  const client = sdk.createClient({ baseUrl: url });
  const identifier = { type: "m.id.user", user: userId };
  const body = { type: "m.login.password", identifier, password, initial_device_display_name: deviceName };
  return begin(await client.loginRequest(body), options);
}

// Two users with two devices each.
export async function twoUsers(purpose) {
  const alice = await register(`alice_${purpose}`);
  const bob = await register(`bob_${purpose}`);
  const alicePhone = await login(alice.getUserId(), "phone");
  const bobPhone = await login(bob.getUserId(), "phone");
  return { alice, bob, alicePhone, bobPhone };
}

export const encryption = {
  type: "m.room.encryption",
  state_key: "",
  content: { algorithm: "m.megolm.v1.aes-sha2" },
};

// A room of all these users, which everybody's devices know.
export async function roomOf(creator, others, options = {}) {
  const invite = [...new Set(others.map((client) => client.getUserId()))].filter((id) => id !== creator.getUserId());
  const { room_id: roomId } = await creator.createRoom({ preset: "private_chat", invite, ...options });
  for (const userId of invite) {
    const guest = others.find((client) => client.getUserId() === userId);
    await until("the invite", () => guest.getRoom(roomId)?.getMyMembership() === "invite");
    await guest.joinRoom(roomId);
  }
  for (const client of [creator, ...others]) {
    await until("the room", () => client.getRoom(roomId)?.getJoinedMemberCount() === invite.length + 1);
  }
  return roomId;
}

export function event(client, roomId, body) {
  const events = client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
  return events.find((e) => e.getContent().body === body);
}

export async function received(client, roomId, body) {
  return until(`${client.getUserId()} on ${client.getDeviceId()} receives "${body}"`, () => event(client, roomId, body));
}

export async function finished() {
  for (const client of clients) client.stopClient();
}

// Run one flow: prints what worked, and ends the process with 1 if something did not.
export async function flow(name, body) {
  try {
    await body();
    step(`${name}: all of it worked`);
  } catch (error) {
    console.error(`${name}: failed: ${error.stack ?? error}`);
    process.exitCode = 1;
  } finally {
    await finished();
  }
  process.exit();
}
