// Two users with two devices each talk plainly and encrypted, scroll back, see typing and receipts.
import { check, encryption, event, flow, login, received, roomOf, step, twoUsers, until } from "./devices.mjs";

await flow("talk", async () => {
  const { alice, bob, alicePhone, bobPhone } = await twoUsers("talk");
  step(`logged in: ${alice.getUserId()} and ${bob.getUserId()}, each on two devices`);

  const everybody = [bob, alicePhone, bobPhone];
  const plain = await roomOf(alice, everybody, { name: "Plain" });
  const secret = await roomOf(alice, everybody, { name: "Secret", initial_state: [encryption] });
  step("bob was invited to both rooms and joined them");

  await alice.sendTextMessage(plain, "in the open");
  for (const client of everybody) await received(client, plain, "in the open");
  step("a plain message arrived on every device");

  await alice.sendTextMessage(secret, "a secret");
  for (const client of everybody) {
    const found = await received(client, secret, "a secret");
    check(found.isEncrypted(), "it was not encrypted");
  }
  await bobPhone.sendTextMessage(secret, "kept");
  for (const client of [alice, alicePhone, bob]) await received(client, secret, "kept");
  step("encrypted messages arrived on every device, in both directions");

  await bob.sendTyping(plain, true, 10000);
  await until("typing", () => alice.getRoom(plain).getMember(bob.getUserId()).typing);
  await bob.sendReadReceipt(event(bob, plain, "in the open"));
  const id = event(alice, plain, "in the open").getId();
  await until("the receipt", () => alice.getRoom(plain).getEventReadUpTo(bob.getUserId()) === id);
  step("typing and the read receipt arrived");

  for (let n = 0; n < 40; n++) await alice.sendTextMessage(plain, `line ${n}`);
  const late = await login(bob.getUserId(), "tablet");
  while (await late.scrollback(late.getRoom(plain), 30).then((room) => room.oldState.paginationToken));
  const bodies = late.getRoom(plain).getLiveTimeline().getEvents().map((e) => e.getContent().body);
  check(bodies.includes("in the open") && bodies.includes("line 0"), "scrolling back lost messages");
  step("a new device scrolled back to the beginning of the room");
});
