//! Who is let in, when, and with what.

use super::*;

#[tokio::test]
async fn an_answer_waits_for_a_picture_but_not_long() {
    let mut server = TestBox::start("127.0.0.1:0", 10);
    let client = Client::new().await;
    assert_eq!(server.create(&client.offer()).await, Err(CreateError::NoPicture), "nothing is live");
    let mut source = server.publish();
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        source.picture(true, 500);
        source
    });
    assert!(server.create(&client.offer()).await.is_ok());
    drop(later);
}

#[tokio::test]
async fn there_are_no_more_sessions_than_allowed_and_none_twice() {
    let mut server = TestBox::start("127.0.0.1:0", 2);
    let mut source = server.publish();
    source.picture(true, 500);
    let client = Client::new().await;
    server.create(&client.offer()).await.unwrap();
    server.viewers -= 1;
    assert_eq!(server.create(&client.offer()).await, Err(CreateError::Exists));
    server.viewers += 1;
    server.create(&client.offer()).await.unwrap();
    assert_eq!(server.create(&client.offer()).await, Err(CreateError::Full));
    assert!(matches!(server.create("nonsense").await, Err(CreateError::Offer(_))));
}

#[tokio::test]
async fn offers_that_come_to_nothing_make_room_and_whoever_watches_stays() {
    let mut server = TestBox::start("127.0.0.1:0", 8);
    let mut source = server.publish();
    source.picture(true, 500);
    let (mut watching, _) = server.viewer().await;
    let _ = watching.connect().await;
    server.from = Some([10, 0, 0, 1].into());
    let flood = Client::new().await;
    for number in 0..50 {
        let answer = server.create(&flood.offer()).await;
        assert!(answer.is_ok() || number >= 4 && answer == Err(CreateError::FullForAddress), "{number}: {answer:?}");
    }
    server.from = Some([10, 0, 0, 2].into());
    let (mut other, _) = server.viewer().await;
    let _ = other.connect().await;
    // Four of the flood, and both that watch.
    server
        .comes_to("six sessions, two connected", |sessions| {
            sessions.len() == 6 && sessions.iter().filter(|session| session.connected.is_some()).count() == 2
        })
        .await;
}

#[tokio::test]
async fn a_viewers_wish_for_lip_sync_goes_before_the_settings() {
    for (setting, wish, expected) in
        [(true, None, true), (false, None, false), (true, Some(false), false), (false, Some(true), true)]
    {
        let config = Config { lip_sync: setting, ..config("127.0.0.1:0".parse().unwrap(), 1) };
        let mut server = TestBox::start_with(config, || Box::new(AsItIs));
        let mut source = server.publish();
        source.picture(true, 500);
        server.lip_sync = wish;
        let mut client = Client::new().await;
        client.takes_sound = true;
        let answer = server.create(&client.offer()).await.unwrap().answer_sdp;
        assert_eq!(answer.contains("a=msid:pgm-video pgm-sound"), expected, "{setting} {wish:?}");
    }
}
