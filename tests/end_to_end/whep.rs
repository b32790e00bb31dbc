//! WHEP to the letter (draft-ietf-wish-whep).

use crate::media::live;
use crate::support::appliance::Settings;
use crate::support::http::request;
use crate::support::source::Picture;
use crate::support::viewer::{Setup, WhepViewer};
use crate::support::{Result, http};
use crate::{SOON, turn};

#[tokio::test(flavor = "multi_thread")]
async fn each_method_answers_as_the_draft_says() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let endpoint = appliance.whep("pgm");

    let options = request("OPTIONS", &endpoint, &[("Origin", "http://elsewhere")], &[]).await?;
    assert_eq!(options.status, 200);
    assert_eq!(options.header("accept-post"), Some("application/sdp"));
    assert!(options.header("access-control-allow-origin").is_some(), "{options:?}");
    let get = http::get(&endpoint).await?;
    assert!((200..300).contains(&get.status) && get.body.is_empty(), "{get:?}");
    let wrong_type = request("POST", &endpoint, &[("Content-Type", "text/plain")], b"v=0").await?;
    assert_eq!(wrong_type.status, 415);
    let bad_offer = request("POST", &endpoint, &[("Content-Type", "application/sdp")], b"v=0").await?;
    assert_eq!(bad_offer.status, 400);
    let nowhere = request("POST", &appliance.whep("api"), &[("Content-Type", "application/sdp")], b"v=0").await?;
    assert!((400..500).contains(&nowhere.status), "{nowhere:?}");

    let viewer = WhepViewer::connect_with(&endpoint, Setup::default()).await?;
    assert_eq!(viewer.response.header("content-type"), Some("application/sdp"));
    assert_eq!(viewer.response.header("accept-patch"), Some("application/trickle-ice-sdpfrag"));
    let etag = viewer.response.header("etag").ok_or("no ETag")?.to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "an entity tag is quoted: {etag}");
    let video = viewer.answer.sections.iter().find(|section| section.kind == "video").ok_or("no video")?;
    assert_eq!(video.direction, "sendonly");
    let mids: Vec<_> = viewer.answer.sections.iter().map(|section| section.mid.as_str()).collect();
    assert_eq!(mids, ["0", "1"], "every section of the offer is answered, in order");
    viewer.wait_frames(10, SOON).await?;

    let (ufrag, password) = &viewer.credentials;
    let fragment = |ufrag: &str, password: &str| {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
             a=candidate:1 1 udp 2130706431 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
        )
    };
    let trickled = fragment(ufrag, password);
    let kind = ("Content-Type", "application/trickle-ice-sdpfrag");
    let without_tag = request("PATCH", &viewer.resource, &[kind], trickled.as_bytes()).await?;
    assert_eq!(without_tag.status, 428, "{without_tag:?}");
    let patch = [kind, ("If-Match", "\"stale\"")];
    let stale = request("PATCH", &viewer.resource, &patch, trickled.as_bytes()).await?;
    assert_eq!(stale.status, 412, "{stale:?}");
    let patch = [kind, ("If-Match", etag.as_str())];
    let fresh = request("PATCH", &viewer.resource, &patch, trickled.as_bytes()).await?;
    assert_eq!(fresh.status, 204, "{fresh:?}");
    let mangled = request("PATCH", &viewer.resource, &patch, b"\xff\xfe").await?;
    assert!((400..500).contains(&mangled.status), "{mangled:?}");
    viewer.wait_frames(10, SOON).await?;

    let patch = [kind, ("If-Match", "*")];
    let restart = fragment("newu", "new-password-of-24-chars");
    let restarted = request("PATCH", &viewer.resource, &patch, restart.as_bytes()).await?;
    assert_eq!(restarted.status, 200, "{restarted:?}");
    assert!(restarted.header("etag").is_some_and(|new| new != etag), "{restarted:?}");
    assert!(restarted.text().contains("a=ice-ufrag:"), "{restarted:?}");

    let resource = viewer.resource.clone();
    viewer.close().await?;
    let again = request("DELETE", &resource, &[], &[]).await?;
    assert_eq!(again.status, 404, "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_addresses_of_peers_are_understood() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    for path in ["/live/pgm/whep", "/rtc/v1/whep/?app=live&stream=pgm"] {
        let endpoint = format!("{}{path}", appliance.base());
        let viewer = WhepViewer::connect_with(&endpoint, Setup::default()).await?;
        viewer.wait_frames(5, SOON).await.map_err(|error| format!("{path}: {error}"))?;
        viewer.close().await?;
    }
    Ok(())
}
