// Media, encrypted and not, thumbnails; a pusher to a gateway on loopback; push rules; profiles, tags, presence, devices.
import { createServer } from "node:http";
import { deflateSync, crc32 } from "node:zlib";
import { check, equal, flow, login, password, received, refused, roomOf, step, twoUsers, until } from "./devices.mjs";

await flow("services", async () => {
  const { alice, bob, alicePhone, bobPhone } = await twoUsers("services");
  const room = await roomOf(alice, [alicePhone, bob, bobPhone], { name: "Things" });
  await media(alice, bobPhone, room);
  await push(alice, bob, bobPhone, room);
  await settings(alice, alicePhone, bob, room);
  await devices(bob);
});

function png(width, height) {
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const frame = Buffer.alloc(8 + body.length);
    frame.writeUInt32BE(data.length);
    body.copy(frame, 4);
    frame.writeUInt32BE(crc32(body), 4 + body.length);
    return frame;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const rows = Buffer.concat(Array.from({ length: height }, (_, y) => Buffer.alloc(1 + width * 3, y % 256).fill(0, 0, 1)));
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([magic, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

async function fetched(client, mxc, ...size) {
  const address = client.mxcUrlToHttp(mxc, ...size, ...Array(4 - size.length).fill(undefined), true, true);
  const headers = { Authorization: `Bearer ${client.getAccessToken()}` };
  const answer = await fetch(address, { headers });
  equal(answer.status, 200, address);
  equal((await fetch(address)).status, 401, `${address} without a token`);
  return { type: answer.headers.get("content-type"), bytes: Buffer.from(await answer.arrayBuffer()) };
}

async function media(alice, bobPhone, room) {
  const picture = png(320, 200);
  let told = 0;
  const { content_uri: mxc } = await alice.uploadContent(picture, {
    name: "gray.png",
    type: "image/png",
    progressHandler: () => told++,
  });
  await alice.sendImageMessage(room, mxc, { w: 320, h: 200, mimetype: "image/png", size: picture.length }, "gray.png");
  const shown = await received(bobPhone, room, "gray.png");
  const whole = await fetched(bobPhone, shown.getContent().url);
  check(whole.bytes.equals(picture), "the picture changed on its way");
  equal(whole.type, "image/png", "its type");
  const small = await fetched(bobPhone, shown.getContent().url, 32, 32, "crop");
  check(small.bytes.length < picture.length || small.type.startsWith("image/"), "no thumbnail");
  equal([small.bytes.readUInt32BE(16), small.bytes.readUInt32BE(20)], [32, 32], "the size of the thumbnail");
  const settings = await alice.getMediaConfig(true);
  check(settings["m.upload.size"] > 0, "no limit of uploads");
  step("a picture was uploaded, downloaded whole and as a thumbnail, by those who are logged in only");
}

async function push(alice, bob, bobPhone, room) {
  const notified = [];
  const gateway = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      notified.push(JSON.parse(Buffer.concat(parts)).notification);
      response.setHeader("Content-Type", "application/json").end(JSON.stringify({ rejected: [] }));
    });
  });
  await new Promise((resolve) => gateway.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${gateway.address().port}/_matrix/push/v1/notify`;
  const pusher = {
    kind: "http", app_id: "hearth.test", pushkey: "bob's phone", app_display_name: "Test", device_display_name: "Phone",
    lang: "en", data: { url: address },
  };
  await bobPhone.setPusher({ ...pusher, append: false });
  equal((await bobPhone.getPushers()).pushers.map((p) => p.pushkey), [pusher.pushkey], "the pushers");
  const { event_id: id } = await alice.sendTextMessage(room, "wake up");
  const first = await until("the push", () => notified.find((n) => n.event_id === id));
  equal([first.content.body, first.sender, first.room_name], ["wake up", alice.getUserId(), "Things"], "the notification");
  check(first.counts.unread >= 1, "no count of what is unread");
  equal(first.devices.map((d) => d.pushkey), [pusher.pushkey], "the devices");

  await bob.setRoomMutePushRule("global", room, true);
  await until("the rule", () => bobPhone.getRoomPushRule("global", room));
  const { event_id: muted } = await alice.sendTextMessage(room, "hush");
  await bob.setRoomMutePushRule("global", room, false);
  const { event_id: loud } = await alice.sendTextMessage(room, "and now");
  await until("the push after it", () => notified.some((n) => n.event_id === loud));
  check(!notified.some((n) => n.event_id === muted), "a muted room notified");
  await bob.sendReadReceipt(await received(bob, room, "and now"));
  await until("the badge is taken away", () => notified.at(-1).counts?.unread === 0 || !notified.at(-1).counts?.unread);
  await bobPhone.removePusher(pusher.pushkey, pusher.app_id);
  equal((await bobPhone.getPushers()).pushers, [], "the pushers after it was removed");
  gateway.close();
  step("a gateway was told of messages, not of a muted room, and of the count when they were read");
}

async function settings(alice, alicePhone, bob, room) {
  await alice.setDisplayName("Alice of Hearth");
  await until("the name", () => bob.getRoom(room).getMember(alice.getUserId()).name === "Alice of Hearth");
  equal((await bob.getProfileInfo(alice.getUserId())).displayname, "Alice of Hearth", "the profile");
  check(await alice.doesServerSupportExtendedProfiles(), "no fields of profiles");
  await alice.setExtendedProfileProperty("org.example.mood", "calm");
  equal(await bob.getExtendedProfileProperty(alice.getUserId(), "org.example.mood"), "calm", "a field of a profile");
  await alice.setRoomTag(room, "m.favourite", { order: 0.5 });
  await until("the tag", () => alicePhone.getRoom(room).tags["m.favourite"]);
  await alice.setAccountData("org.example.setting", { on: true });
  await until("the account data", () => alicePhone.getAccountData("org.example.setting")?.getContent().on);
  await bob.setIgnoredUsers([alice.getUserId()]);
  await until("alice is ignored", () => bob.isUserIgnored(alice.getUserId()));
  await bob.setIgnoredUsers([]);
  await bob.setPresence({ presence: "unavailable", status_msg: "at lunch" });
  await until("the presence", () => alice.getUser(bob.getUserId())?.presenceStatusMsg === "at lunch");
  step("profile, tags, account data, ignored users and presence reached the other devices");
}

async function devices(bob) {
  const tablet = await login(bob.getUserId(), "tablet");
  const id = tablet.getDeviceId();
  await bob.setDeviceDetails(id, { display_name: "old tablet" });
  equal((await bob.getDevice(id)).display_name, "old tablet", "the name of the device");
  const session = await bob.deleteDevice(id).catch((error) => error.data.session);
  const identifier = { type: "m.id.user", user: bob.getUserId() };
  await bob.deleteDevice(id, { type: "m.login.password", identifier, password, session });
  tablet.stopClient();
  equal(await refused(tablet.whoami()), "M_UNKNOWN_TOKEN", "the token of a device that was removed");
  equal((await bob.getDevices()).devices.length, 2, "the devices that are left");
  step("a device was renamed and removed with the password, and its token ended");
}
