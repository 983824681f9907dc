// What happens in a room: edits, reactions, polls, replies, threads with receipts and counts of their own, search.
import { NotificationCountType } from "matrix-js-sdk/lib/models/room.js";
import { ThreadFilterType } from "matrix-js-sdk/lib/models/thread.js";
import { ReceiptType } from "matrix-js-sdk/lib/@types/read_receipts.js";
import { M_POLL_KIND_DISCLOSED } from "matrix-js-sdk/lib/@types/polls.js";
import { PollStartEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollStartEvent.js";
import { PollResponseEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollResponseEvent.js";
import { PollEndEvent } from "matrix-js-sdk/lib/extensible_events_v1/PollEndEvent.js";
import { check, equal, event, flow, login, received, roomOf, step, twoUsers, until } from "./devices.mjs";

await flow("conversation", async () => {
  const { alice, bob, alicePhone, bobPhone } = await twoUsers("conversation");
  const everybody = [bob, alicePhone, bobPhone];
  const room = await roomOf(alice, everybody, { name: "Talk" });
  await changes(alice, everybody, room);
  await poll(alice, bob, everybody, room);
  await threads(alice, bob, bobPhone, room);
  await search(alice, bob, room);
});

async function changes(alice, everybody, room) {
  const [bob] = everybody;
  const { event_id: original } = await alice.sendTextMessage(room, "helo");
  await alice.sendMessage(room, {
    msgtype: "m.text",
    body: "* hello",
    "m.new_content": { msgtype: "m.text", body: "hello" },
    "m.relates_to": { rel_type: "m.replace", event_id: original },
  });
  for (const client of everybody) await received(client, room, "hello");
  step("an edit replaced the message on every device");

  const reaction = { "m.relates_to": { rel_type: "m.annotation", event_id: original, key: "👍" } };
  const { event_id: thumb } = await bob.sendEvent(room, "m.reaction", reaction);
  const thumbs = (client) =>
    client.getRoom(room).relations.getChildEventsForEvent(original, "m.annotation", "m.reaction")?.getSortedAnnotationsByKey();
  await until("the reaction", () => thumbs(alice)?.some(([key, events]) => key === "👍" && events.size === 1));
  await bob.redactEvent(room, thumb);
  await until("the reaction is taken back", () => !thumbs(alice).some(([, events]) => events.size));
  step("a reaction came and went");

  const late = await login(bob.getUserId(), "late");
  const found = await received(late, room, "hello");
  equal(found.getId(), original, "the event that was edited, on a device that came later");
  const history = await late.relations(room, original, "m.replace", "m.room.message");
  equal(history.events.length, 1, "edits by /relations");
  step("a device that came later was shown the edited message");
}

async function poll(alice, bob, everybody, room) {
  const start = PollStartEvent.from("Tea?", ["yes", "no"], M_POLL_KIND_DISCLOSED).serialize();
  const { event_id: id } = await alice.sendEvent(room, start.type, start.content);
  await until("the poll", () => bob.getRoom(room).polls.get(id));
  const question = bob.getRoom(room).polls.get(id);
  const yes = question.pollEvent.answers[0].id;
  const vote = PollResponseEvent.from([yes], id).serialize();
  await bob.sendEvent(room, vote.type, vote.content);
  for (const client of everybody) {
    await until("the vote", async () => {
      const responses = await client.getRoom(room).polls.get(id)?.getResponses();
      return responses?.getRelations().length === 1;
    });
  }
  const end = PollEndEvent.from(id, "The end").serialize();
  await alice.sendEvent(room, end.type, end.content);
  for (const client of everybody) await until("the end", () => client.getRoom(room).polls.get(id).isEnded);
  step("a poll was asked, answered and ended");
}

// The first message of a thread, past the SDK: its sendMessage() fails if /sync shows it before the answer has come.
async function begin(client, room, root, content) {
  const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/${client.makeTxnId()}`;
  const relation = { rel_type: "m.thread", event_id: root };
  await client.http.authedRequest("PUT", path, undefined, { msgtype: "m.text", ...content, "m.relates_to": relation });
  await until("the thread", () => client.getRoom(room).getThread(root)?.length === 1);
}

async function threads(alice, bob, bobPhone, room) {
  const { event_id: root } = await alice.sendTextMessage(room, "a thread begins");
  const { event_id: other } = await alice.sendTextMessage(room, "another begins");
  const unread = (client, thread, type = NotificationCountType.Total) =>
    client.getRoom(room).getThreadUnreadNotificationCount(thread, type);
  await begin(alice, room, root, { body: "first thread 0" });
  for (let n = 1; n < 3; n++) await alice.sendTextMessage(room, root, `first thread ${n}`);
  await begin(alice, room, other, { body: "second thread, for bob", "m.mentions": { user_ids: [bob.getUserId()] } });
  for (const client of [bob, bobPhone]) {
    await until("the count of the first thread", () => unread(client, root) === 3);
    await until("the count of the second", () => unread(client, other) === 1);
    equal(unread(client, other, NotificationCountType.Highlight), 1, "highlights of the second thread");
    equal(unread(client, root, NotificationCountType.Highlight), 0, "highlights of the first thread");
  }
  step("each thread counts its unread messages and mentions by itself");

  const thread = await until("the thread", () => bob.getRoom(room).getThread(root));
  await until("its replies", () => thread.length === 3 && thread.replyToEvent?.getContent().body === "first thread 2");
  await bob.sendReadReceipt(thread.replyToEvent, ReceiptType.Read);
  for (const client of [bob, bobPhone]) await until("the thread is read", () => unread(client, root) === 0);
  equal(unread(bobPhone, other), 1, "the other thread's count");
  await until("alice sees how far", () => alice.getRoom(room).getThread(root)?.getEventReadUpTo(bob.getUserId()) === thread.replyToEvent.getId());
  step("a receipt in one thread left the other unread, on both devices");

  await bob.sendTextMessage(room, root, "bob answers");
  const late = await login(bob.getUserId(), "threads");
  const ids = (chunk) => chunk.map((e) => e.event_id).toReversed(); // the SDK turns the server's order around
  const all = await late.createThreadListMessagesRequest(room, null, 10);
  equal(ids(all.chunk), [root, other], "all threads, the latest first");
  const mine = await late.createThreadListMessagesRequest(room, null, 10, undefined, ThreadFilterType.My);
  equal(ids(mine.chunk), [root], "the threads that bob is in");
  const bundled = all.chunk.at(-1).unsigned["m.relations"]["m.thread"];
  equal([bundled.count, bundled.current_user_participated], [4, true], "the summary of the thread");

  await late.getRoom(room).createThreadsTimelineSets();
  await late.getRoom(room).fetchRoomThreads();
  const known = late.getRoom(room).getThreads().map((found) => found.id);
  equal(known.toSorted(), [root, other].toSorted(), "threads on a device that came later");
  const opened = late.getRoom(room).getThread(root);
  while (await late.paginateEventTimeline(opened.liveTimeline, { backwards: true, limit: 2 }));
  const bodies = opened.liveTimeline.getEvents().map((e) => e.getContent().body);
  equal(bodies, ["a thread begins", "first thread 0", "first thread 1", "first thread 2", "bob answers"], "the thread");
  const timeline = await late.getEventTimeline(opened.timelineSet, opened.events[1].getId());
  check(timeline, "no timeline around an event of the thread");
  step("a device that came later listed the threads and read one of them page by page");
}

async function search(alice, bob, room) {
  for (let n = 0; n < 12; n++) await alice.sendTextMessage(room, `The harvest of year ${n}`);
  await alice.sendTextMessage(room, "nothing of the kind");
  await received(bob, room, "nothing of the kind");
  const found = await bob.searchRoomEvents({ term: "harvest year", filter: { rooms: [room] } });
  equal(found.count, 12, "what was found");
  equal(found.results.length, 10, "the first page");
  check(found.highlights.includes("harvest"), "no highlights");
  check(found.results[0].context.getTimeline().length > 1, "no context");
  await bob.backPaginateRoomEventsSearch(found);
  equal(found.results.length, 12, "both pages");
  const nothing = await bob.searchMessageText({ query: "no such word anywhere" });
  equal(nothing.search_categories.room_events.results.length, 0, "what was not to be found");
  const { event_id: gone } = await alice.sendTextMessage(room, "harvest secrets");
  await alice.redactEvent(room, gone);
  await until("what is redacted is not found", async () => {
    const { count } = await bob.searchRoomEvents({ term: "secrets", filter: { rooms: [room] } });
    return count === 0;
  });
  check(event(bob, room, "nothing of the kind"), "the room lost a message");
  step("search found the words, page by page, with context, and nothing redacted");
}
