// Cross-signing, secret storage, verification by emoji between devices and between users, key backup, a third device
// that restores it, and a dehydrated device where the server has them.
import { VerificationPhase, VerifierEvent, VerificationRequestEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { CryptoEvent } from "matrix-js-sdk/lib/crypto-api/CryptoEvent.js";
import { check, encryption, equal, flow, login, password, received, roomOf, step, twoUsers, until } from "./devices.mjs";

async function withPassword(client, makeRequest) {
  const identifier = { type: "m.id.user", user: client.getUserId() };
  let session;
  try {
    return await makeRequest(null);
  } catch (error) {
    check(error.httpStatus === 401, `not asked for the password: ${error}`);
    check(error.data.flows.some(({ stages }) => stages.includes("m.login.password")), "no flow with a password");
    session = error.data.session;
  }
  return makeRequest({ type: "m.login.password", identifier, password, session });
}

async function setUp(client) {
  const crypto = client.getCrypto();
  await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (request) => withPassword(client, request) });
  await crypto.bootstrapSecretStorage({
    createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
    setupNewKeyBackup: true,
  });
  check(await crypto.isCrossSigningReady(), "cross-signing is not ready");
  check(await crypto.isSecretStorageReady(), "secret storage is not ready");
  return until("the key backup", () => crypto.getActiveSessionBackupVersion());
}

function incoming(client, from) {
  return new Promise((resolve) => {
    const heard = (request) => {
      if (request.otherUserId !== from.getUserId() || request.initiatedByMe) return;
      client.off(CryptoEvent.VerificationRequestReceived, heard);
      resolve(request);
    };
    client.on(CryptoEvent.VerificationRequestReceived, heard);
  });
}

async function inPhase(request, phase) {
  if (request.phase === phase) return;
  await new Promise((resolve, reject) => {
    const changed = () => {
      if (request.phase === phase) resolve();
      if (request.phase === VerificationPhase.Cancelled) reject(new Error(`cancelled: ${request.cancellationCode} by ${request.cancellingUserId}`));
    };
    request.on(VerificationRequestEvent.Change, changed);
    changed();
    setTimeout(() => reject(new Error(`the verification stays in phase ${request.phase}`)), 30000).unref();
  });
}

// Two people compare what they are shown, and say that it is the same.
async function compare(asking, asked) {
  await asked.accept();
  await inPhase(asking, VerificationPhase.Ready);
  const verifiers = [await asking.startVerification("m.sas.v1")];
  await inPhase(asked, VerificationPhase.Started);
  verifiers.push(asked.verifier);
  const shown = verifiers.map((verifier) => new Promise((resolve) => verifier.on(VerifierEvent.ShowSas, resolve)));
  const done = verifiers.map((verifier) => verifier.verify());
  const [mine, yours] = await Promise.race([Promise.all(shown), Promise.all(done).then(() => [])]);
  equal(mine.sas.emoji, yours.sas.emoji, "the emoji");
  await Promise.all([mine.confirm(), yours.confirm()]);
  await Promise.all(done);
  for (const request of [asking, asked]) await inPhase(request, VerificationPhase.Done);
  return mine.sas.emoji.map(([emoji]) => emoji).join("");
}

async function verifyOwn(old, fresh) {
  const heard = incoming(old, fresh);
  const asking = await fresh.getCrypto().requestOwnUserVerification();
  const emoji = await compare(asking, await heard);
  const id = fresh.getDeviceId();
  for (const client of [old, fresh]) {
    await until("the device is signed by its owner", async () =>
      (await client.getCrypto().getDeviceVerificationStatus(fresh.getUserId(), id))?.crossSigningVerified);
  }
  await until("the secrets arrive", async () => {
    const { privateKeysCachedLocally } = await fresh.getCrypto().getCrossSigningStatus();
    return Object.values(privateKeysCachedLocally).every(Boolean);
  });
  return emoji;
}

await flow("trust", async () => {
  const { alice, bob, alicePhone, bobPhone } = await twoUsers("trust");
  for (const client of [alice, bob]) {
    step(`${client.getUserId()} has cross-signing, secret storage and key backup ${await setUp(client)}`);
  }
  for (const client of [alicePhone, bobPhone]) {
    await until("the identity arrives", () => client.getCrypto().userHasCrossSigningKeys());
  }
  step(`alice's phone is verified from her laptop: ${await verifyOwn(alice, alicePhone)}`);
  step(`bob's phone is verified from his laptop: ${await verifyOwn(bob, bobPhone)}`);

  const secret = await roomOf(alice, [bob, alicePhone, bobPhone], { name: "Secret", initial_state: [encryption] });
  const asked = incoming(alicePhone, bobPhone);
  await bobPhone.getCrypto().getUserDeviceInfo([alice.getUserId()], true);
  const direct = await bobPhone.getCrypto().requestDeviceVerification(alice.getUserId(), alicePhone.getDeviceId());
  step(`the phones of both verified each other by to-device messages: ${await compare(direct, await asked)}`);

  const heard = incoming(bob, alice);
  const asking = await alice.getCrypto().requestVerificationDM(bob.getUserId(), secret);
  check(asking.roomId === secret, "the verification is not in the room");
  step(`alice and bob verified each other in the room: ${await compare(asking, await heard)}`);
  for (const [client, other] of [[alice, bob], [alicePhone, bob], [bob, alice], [bobPhone, alice]]) {
    await until("the user is verified", async () => {
      const status = await client.getCrypto().getUserVerificationStatus(other.getUserId());
      return status.isCrossSigningVerified();
    });
  }
  step("each device of both sees the other user as verified");

  for (let n = 0; n < 5; n++) await alice.sendTextMessage(secret, `old ${n}`);
  for (const client of [bob, bobPhone, alicePhone]) await received(client, secret, "old 4");
  await bobPhone.sendTextMessage(secret, "from the phone");
  await received(bob, secret, "from the phone");
  // The SDK keeps what it was told of the backup, so the server is asked.
  const prefix = "/_matrix/client/v3";
  const kept = async () => (await bob.http.authedRequest("GET", "/room_keys/version", {}, undefined, { prefix })).count >= 2;
  await until("the keys are in the backup", kept);
  step("keys of both senders are in bob's backup");

  const tablet = await login(bob.getUserId(), "tablet");
  const crypto = tablet.getCrypto();
  const dark = await until("the history", () => {
    const events = tablet.getRoom(secret).getLiveTimeline().getEvents();
    return events.filter((e) => e.isDecryptionFailure()).length >= 6;
  });
  check(dark, "a third device could read without keys");
  tablet.recovery = bob.recovery;
  check(await crypto.userHasCrossSigningKeys(bob.getUserId(), true), "the tablet sees no identity");
  await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (request) => withPassword(tablet, request) });
  await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  await crypto.checkKeyBackupAndEnable();
  const restored = await crypto.restoreKeyBackup();
  check(restored.imported >= 2 && restored.imported === restored.total, `restored ${JSON.stringify(restored)}`);
  for (const text of ["old 0", "old 4", "from the phone"]) await received(tablet, secret, text);
  const status = await bob.getCrypto().getUserDeviceInfo([bob.getUserId()], true);
  check(status.get(bob.getUserId()).size === 3, "bob has three devices");
  await until("the tablet is trusted", async () => {
    const found = await alice.getCrypto().getDeviceVerificationStatus(bob.getUserId(), tablet.getDeviceId());
    return found?.crossSigningVerified;
  });
  step(`a third device restored ${restored.imported} keys with the recovery key, reads the old messages and is trusted`);
  await alice.sendTextMessage(secret, "to three devices");
  for (const client of [bob, bobPhone, tablet]) await received(client, secret, "to three devices");
  step("a new message reached all three devices");

  await dehydrated(alice, bob, secret);

  const before = await alice.getCrypto().getCrossSigningKeyId();
  await alice.getCrypto().resetEncryption((request) => withPassword(alice, request));
  check((await alice.getCrypto().getCrossSigningKeyId()) !== before, "the identity stayed");
  await until("bob sees that alice's identity changed", async () =>
    (await bob.getCrypto().getUserVerificationStatus(alice.getUserId())).needsUserApproval);
  step("alice reset her identity, and bob was told");
});

async function dehydrated(alice, bob, secret) {
  const crypto = bob.getCrypto();
  if (!(await crypto.isDehydrationSupported())) return step("NOT TRIED: the server has no dehydrated devices");
  await crypto.startDehydration();
  const devices = async () => (await alice.getCrypto().getUserDeviceInfo([bob.getUserId()], true)).get(bob.getUserId());
  await until("the dehydrated device", async () => [...(await devices()).values()].some((device) => device.dehydrated));
  await alice.getCrypto().forceDiscardSession(secret);
  await alice.sendTextMessage(secret, "to a device that sleeps");
  await received(bob, secret, "to a device that sleeps");
  const woken = await login(bob.getUserId(), "woken");
  woken.recovery = bob.recovery;
  await woken.getCrypto().bootstrapCrossSigning({});
  await woken.getCrypto().startDehydration();
  await received(woken, secret, "to a device that sleeps");
  step("a message to a dehydrated device was read by a new device that woke it");
}
