//! The Matrix Rust SDK against a running Hearth: two users, one with two devices, talk plainly and encrypted over /sync;
//! then a room list over simplified sliding sync, as Element X keeps it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::ruma::api::client::account::register::v3::Request as RegisterRequest;
use matrix_sdk::ruma::api::client::room::create_room::v3::Request as CreateRoom;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy};
use matrix_sdk::ruma::events::room::message::{
    MessageType, OriginalSyncRoomMessageEvent, RoomMessageEventContent,
};
use matrix_sdk::ruma::{OwnedRoomId, OwnedUserId, RoomId};
use matrix_sdk::{Client, Room};

const PASSWORD: &str = "correct horse battery";

/// One device, and the texts that it could read.
struct Device {
    client: Client,
    texts: Arc<Mutex<Vec<(OwnedRoomId, String)>>>,
}

impl Device {
    async fn new(url: &str) -> Result<Self> {
        let client = Client::builder().homeserver_url(url).build().await?;
        let texts: Arc<Mutex<Vec<(OwnedRoomId, String)>>> = Arc::default();
        let seen = texts.clone();
        client.add_event_handler(move |event: OriginalSyncRoomMessageEvent, room: Room| {
            let seen = seen.clone();
            async move {
                if let MessageType::Text(text) = event.content.msgtype {
                    seen.lock().unwrap().push((room.room_id().to_owned(), text.body));
                }
            }
        });
        Ok(Self { client, texts })
    }

    async fn register(url: &str, name: &str) -> Result<Self> {
        let device = Self::new(url).await?;
        let mut request = RegisterRequest::new();
        request.username = Some(name.to_owned());
        request.password = Some(PASSWORD.to_owned());
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        device.client.matrix_auth().register(request).await?;
        Ok(device)
    }

    async fn login(url: &str, name: &str, device_name: &str) -> Result<Self> {
        let device = Self::new(url).await?;
        let login = device.client.matrix_auth().login_username(name, PASSWORD);
        login.initial_device_display_name(device_name).send().await?;
        Ok(device)
    }

    fn user_id(&self) -> OwnedUserId {
        self.client.user_id().expect("logged in").to_owned()
    }

    async fn sync(&self) -> Result<()> {
        let settings = SyncSettings::default().timeout(Duration::from_millis(300));
        self.client.sync_once(settings).await?;
        Ok(())
    }

    async fn wait_for(&self, room: &RoomId, text: &str) -> Result<()> {
        for _ in 0..40 {
            if self.texts.lock().unwrap().iter().any(|(r, t)| r == room && t == text) {
                return Ok(());
            }
            self.sync().await?;
        }
        bail!("{} did not receive {text:?}", self.user_id())
    }
}

fn step(text: &str) {
    println!("{text}");
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args().nth(1).unwrap_or("http://127.0.0.1:8008".to_owned());
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let alice = Device::register(&url, &format!("alice{run}")).await?;
    let bob = Device::register(&url, &format!("bob{run}")).await?;
    let phone = Device::login(&url, bob.user_id().localpart(), "phone").await?;
    for device in [&alice, &bob, &phone] {
        device.sync().await?;
    }
    step("registered two users and logged one in twice");

    let mut request = CreateRoom::new();
    request.invite = vec![bob.user_id()];
    let plain = alice.client.create_room(request.clone()).await?;
    let secret = alice.client.create_room(request).await?;
    secret.enable_encryption().await?;
    bob.sync().await?;
    for room in [&plain, &secret] {
        bob.client.join_room_by_id(room.room_id()).await?;
    }
    for _ in 0..3 {
        for device in [&alice, &bob, &phone] {
            device.sync().await?;
        }
    }
    plain.send(RoomMessageEventContent::text_plain("in the open")).await?;
    secret.send(RoomMessageEventContent::text_plain("a secret")).await?;
    for device in [&bob, &phone] {
        device.wait_for(plain.room_id(), "in the open").await?;
        device.wait_for(secret.room_id(), "a secret").await?;
    }
    let answer = phone.client.get_room(secret.room_id()).context("the room")?;
    answer.send(RoomMessageEventContent::text_plain("kept")).await?;
    alice.wait_for(secret.room_id(), "kept").await?;
    bob.wait_for(secret.room_id(), "kept").await?;
    step("plain and encrypted messages arrived on every device, in both directions");

    room_list(&url, &bob, plain.room_id()).await?;
    step("all of it worked");
    Ok(())
}

/// A third device that only speaks simplified sliding sync finds the rooms.
async fn room_list(url: &str, bob: &Device, room: &RoomId) -> Result<()> {
    let tablet = Device::login(url, bob.user_id().localpart(), "tablet").await?;
    let service = matrix_sdk_ui::sync_service::SyncService::builder(tablet.client.clone()).build().await?;
    service.start().await;
    let rooms = service.room_list_service().all_rooms().await?;
    let (entries, controller) = rooms.entries_with_dynamic_adapters(20);
    controller.set_filter(Box::new(matrix_sdk_ui::room_list_service::filters::new_filter_non_left()));
    futures_util::pin_mut!(entries);
    let found = async {
        while let Some(_diffs) = entries.next().await {
            if tablet.client.joined_rooms().len() >= 2 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.context("the room list")?;
    tablet.client.get_room(room).context("the plain room")?;
    service.stop().await;
    step("a device with sliding sync found its rooms");
    Ok(())
}
