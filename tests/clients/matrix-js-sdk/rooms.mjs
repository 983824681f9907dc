// Spaces, invites, knocks, restricted joins, aliases and the directory, summaries, upgrades.
import { RoomHierarchy } from "matrix-js-sdk/lib/room-hierarchy.js";
import { check, equal, flow, received, refused, roomOf, step, twoUsers, until } from "./devices.mjs";

const member = (client, room, user) => client.getRoom(room)?.getMember(user.getUserId());

await flow("rooms", async () => {
  const { alice, bob, alicePhone, bobPhone } = await twoUsers("rooms");
  await invites(alice, bob, bobPhone);
  await spaces(alice, bob, bobPhone);
  await knocks(alice, alicePhone, bob, bobPhone);
  await directory(alice, bob);
  await upgrade(alice, alicePhone, bob, bobPhone);
});

async function invites(alice, bob, bobPhone) {
  const { room_id: room } = await alice.createRoom({ preset: "private_chat", name: "Invited", invite: [bob.getUserId()] });
  for (const client of [bob, bobPhone]) {
    await until("the invite", () => client.getRoom(room)?.getMyMembership() === "invite");
    equal(client.getRoom(room).name, "Invited", "the name that the invite shows");
  }
  await bobPhone.leave(room);
  for (const client of [bob, bobPhone]) await until("the refusal", () => client.getRoom(room)?.getMyMembership() === "leave");
  await alice.invite(room, bob.getUserId(), { reason: "please" });
  await until("the second invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
  await bob.joinRoom(room);
  await until("the join", () => bobPhone.getRoom(room)?.getMyMembership() === "join");
  await alice.kick(room, bob.getUserId(), "enough");
  await until("the kick", () => bobPhone.getRoom(room)?.getMyMembership() === "leave");
  await alice.ban(room, bob.getUserId());
  equal(await refused(bob.joinRoom(room)), "M_FORBIDDEN", "joining when banned");
  step("invited, refused, invited again, joined, kicked and banned, seen on both devices");
}

async function spaces(alice, bob, bobPhone) {
  const server = alice.getDomain();
  const child = async (parent, room, content = {}) =>
    alice.sendStateEvent(parent, "m.space.child", { via: [server], ...content }, room);
  const space = await roomOf(alice, [bob, bobPhone], { name: "House", creation_content: { type: "m.space" } });
  const { room_id: floor } = await alice.createRoom({ name: "Floor", creation_content: { type: "m.space" } });
  const restricted = {
    type: "m.room.join_rules",
    state_key: "",
    content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] },
  };
  const { room_id: kitchen } = await alice.createRoom({ name: "Kitchen", initial_state: [restricted] });
  const { room_id: hall } = await alice.createRoom({ name: "Hall", preset: "public_chat" });
  const { room_id: cellar } = await alice.createRoom({ name: "Cellar", preset: "private_chat" });
  await child(space, floor, { order: "b" });
  await child(space, kitchen, { order: "a", suggested: true });
  await child(space, cellar, { order: "c" });
  await alice.sendStateEvent(floor, "m.room.join_rules", { join_rule: "public" }, "");
  await child(floor, hall);

  await until("the children", () => bob.getRoom(space).currentState.getStateEvents("m.space.child").length === 3);
  check(bob.getRoom(space).isSpaceRoom(), "it is no space");
  const hierarchy = new RoomHierarchy(bob.getRoom(space), 2);
  while (hierarchy.canLoadMore) await hierarchy.load();
  equal(hierarchy.rooms.map((r) => r.name), ["House", "Kitchen", "Floor", "Hall"], "what bob sees of the space");
  check(hierarchy.isSuggested(space, kitchen), "the suggestion was lost");
  equal(hierarchy.backRefs.get(hall), [floor], "the parents of the hall");
  const suggested = await bob.getRoomHierarchy(space, 10, 1, true);
  equal(suggested.rooms.map((r) => r.room_id), [space, kitchen], "what is suggested");
  step("bob walked through the space, page by page, and saw what he may join");

  await bob.joinRoom(kitchen, { viaServers: [server] });
  await until("the join", () => bobPhone.getRoom(kitchen)?.getMyMembership() === "join");
  equal(await refused(bob.joinRoom(cellar)), "M_FORBIDDEN", "joining a private room of the space");
  step("a member of the space joined a restricted room of it, and not a private one");
}

async function knocks(alice, alicePhone, bob, bobPhone) {
  const rule = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
  const { room_id: room } = await alice.createRoom({ name: "Door", preset: "private_chat", initial_state: [rule] });
  equal(await refused(bob.joinRoom(room)), "M_FORBIDDEN", "joining where one has to knock");
  await bob.knockRoom(room, { reason: "it is me", viaServers: [alice.getDomain()] });
  for (const client of [bob, bobPhone]) await until("the knock", () => client.getRoom(room)?.getMyMembership() === "knock");
  for (const client of [alice, alicePhone]) {
    await until("the knock arrives", () => member(client, room, bob)?.membership === "knock");
  }
  equal(member(alice, room, bob).events.member.getContent().reason, "it is me", "the reason");
  await alicePhone.invite(room, bob.getUserId());
  await until("the invite", () => bob.getRoom(room).getMyMembership() === "invite");
  await bob.joinRoom(room);
  await until("the join", () => member(alice, room, bob).membership === "join");
  step("bob knocked, was let in, and joined");
}

async function directory(alice, bob) {
  const name = `Market of ${alice.getUserId()}`;
  const alias = alice.getUserId().slice(1).split(":")[0];
  const options = { name, topic: "fruit", room_alias_name: alias, visibility: "public", preset: "public_chat" };
  const { room_id: room } = await alice.createRoom(options);
  const found = await bob.publicRooms({ limit: 5, filter: { generic_search_term: name } });
  equal(found.chunk.map((r) => r.room_id), [room], "the directory's answer");
  const full = `#${alias}:${alice.getDomain()}`;
  equal((await bob.getRoomIdForAlias(full)).room_id, room, "the room of the alias");
  const summary = await bob.getRoomSummary(full);
  equal([summary.name, summary.topic, summary.num_joined_members], [name, "fruit", 1], "the summary");
  await bob.joinRoom(full);
  const people = await bob.searchUserDirectory({ term: alias, limit: 5 });
  check(people.results.some((person) => person.user_id === alice.getUserId()), "alice is not in the directory of people");
  const { event_id: said } = await alice.sendTextMessage(room, "now");
  const now = Date.now();
  equal((await bob.timestampToEvent(room, now, "b")).event_id, said, "the event of this moment");
  step("a published room was found, summed up and joined by its alias; people and a moment were found");
}

async function upgrade(alice, alicePhone, bob, bobPhone) {
  const old = await roomOf(alice, [alicePhone, bob, bobPhone], { name: "Old", topic: "kept", room_version: "10" });
  await alice.setPowerLevel(old, bob.getUserId(), 10);
  const { replacement_room: fresh } = await alice.upgradeRoom(old, "12");
  for (const client of [bob, bobPhone, alicePhone]) {
    await until("the tombstone", () => {
      const stone = client.getRoom(old).currentState.getStateEvents("m.room.tombstone", "");
      return stone?.getContent().replacement_room === fresh;
    });
  }
  await until("the new room", () => alice.getRoom(fresh)?.getMyMembership() === "join");
  await alice.invite(fresh, bob.getUserId());
  await bob.joinRoom(fresh);
  const state = await until("the new state", () => alicePhone.getRoom(fresh)?.currentState);
  equal(alicePhone.getRoom(fresh).getVersion(), "12", "the version");
  equal(state.getStateEvents("m.room.topic", "").getContent().topic, "kept", "the topic");
  equal(alicePhone.getRoom(fresh).findPredecessor().roomId, old, "the room before");
  equal(state.getStateEvents("m.room.power_levels", "").getContent().users[bob.getUserId()], 10, "bob's power");
  equal(await refused(bob.sendTextMessage(old, "still here")), "M_FORBIDDEN", "talking in the old room");
  await bob.sendTextMessage(fresh, "here we are");
  await received(alicePhone, fresh, "here we are");
  step("a room was upgraded to version 12: its name, topic and powers went along, and talk goes on there");
}
