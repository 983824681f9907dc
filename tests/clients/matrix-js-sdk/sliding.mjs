// Simplified sliding sync: a list and subscriptions, with all extensions of the SDK; encrypted rooms over it.
import { SlidingSync, SlidingSyncEvent } from "matrix-js-sdk/lib/sliding-sync.js";
import { check, encryption, equal, flow, login, received, register, roomOf, step, until, url } from "./devices.mjs";

const required = [["m.room.create", ""], ["m.room.name", ""], ["m.room.encryption", ""], ["m.room.member", "$LAZY"]];

function sliding(client) {
  const lists = new Map([["all", { ranges: [[0, 4]], timeline_limit: 1, required_state: required }]]);
  const subscription = { timeline_limit: 20, required_state: [["*", "*"]] };
  client.sliding = new SlidingSync(url, lists, subscription, client, 5000);
  client.told = [];
  client.sliding.on(SlidingSyncEvent.RoomData, (room) => client.told.push(room));
  return { slidingSync: client.sliding };
}

await flow("sliding sync", async () => {
  const alice = await register("alice_sliding");
  const bob = await register("bob_sliding");
  const rooms = [];
  for (let n = 0; n < 8; n++) rooms.push(await roomOf(alice, [bob], { name: `Room ${n}` }));
  const phone = await login(bob.getUserId(), "phone", { start: sliding });
  await until("the list", () => phone.sliding.getListData("all")?.joinedCount === 8);
  await until("five rooms", () => phone.getRooms().length === 5);
  equal(phone.getRooms().map((r) => r.name).toSorted(), ["Room 3", "Room 4", "Room 5", "Room 6", "Room 7"], "the newest");
  phone.sliding.setListRanges("all", [[0, 20]]);
  await until("all rooms", () => phone.getRooms().length === 8);
  step("a phone saw its newest rooms first, then all of them");

  const [first] = rooms;
  for (let n = 0; n < 5; n++) await alice.sendTextMessage(first, `line ${n}`);
  phone.sliding.modifyRoomSubscriptions(new Set([first]));
  for (let n = 0; n < 5; n++) await received(phone, first, `line ${n}`);
  await until("the state", () => phone.getRoom(first).currentState.getStateEvents("m.room.power_levels", ""));
  step("a subscription brought the timeline and the whole state");

  await alice.sendTyping(first, true, 20000);
  await until("typing", () => phone.getRoom(first).getMember(alice.getUserId())?.typing);
  await phone.sendReadReceipt(await received(phone, first, "line 4"));
  const line = await received(alice, first, "line 4");
  await until("the receipt", () => alice.getRoom(first).getEventReadUpTo(bob.getUserId()) === line.getId());
  await bob.sendTextMessage(first, "read this");
  const read = await received(alice, first, "read this");
  await received(phone, first, "read this");
  await alice.sendReadReceipt(read);
  await until("alice's receipt", () => phone.getRoom(first).getEventReadUpTo(alice.getUserId()) === read.getId());
  await bob.setRoomTag(first, "m.favourite", {});
  await until("the tag", () => phone.getRoom(first).tags["m.favourite"]);
  step("typing, receipts and account data came by their extensions");

  const secret = await roomOf(alice, [bob], { name: "Secret", initial_state: [encryption] });
  await until("the new room", () => phone.getRoom(secret)?.getMyMembership() === "join");
  phone.sliding.modifyRoomSubscriptions(new Set([first, secret]));
  await until("it is known to be encrypted", () => phone.getCrypto().isEncryptionEnabledInRoom(secret));
  await alice.sendTextMessage(secret, "whispered");
  for (const client of [bob, phone]) check((await received(client, secret, "whispered")).isEncrypted(), "it was plain");
  await phone.getCrypto().getUserDeviceInfo([alice.getUserId()], true);
  await phone.sendTextMessage(secret, "whispered back");
  for (const client of [alice, bob]) await received(client, secret, "whispered back");
  step("keys came over sliding sync: an encrypted room is read and written");

  const { room_id: invited } = await alice.createRoom({ name: "Invited", invite: [bob.getUserId()] });
  await until("the invite", () => phone.getRoom(invited)?.getMyMembership() === "invite");
  await phone.joinRoom(invited);
  await until("the join", () => phone.getRoom(invited)?.getMyMembership() === "join");
  await bob.leave(rooms[7]);
  await until("the leave", () => phone.getRoom(rooms[7]).getMyMembership() === "leave");
  step("an invite came, was taken, and another room was left");
});
