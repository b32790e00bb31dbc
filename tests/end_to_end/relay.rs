//! Network lights at a box, and what of it only the administrator may do.

use crate::support::appliance::{Appliance, Settings, free_port};
use crate::support::vmix::FakeVmix;
use crate::support::{Result, http, now, until};
use crate::{SOON, turn};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

/// Within this time after vMix was last heard no light is connected any more.
const PROMISE: Duration = Duration::from_secs(2);
/// For so long a busy machine may stop everything at a time: here the test, which looks at its own clock.
const STALL: Duration = Duration::from_millis(400);

/// What a light reads next; `None` when its connection is closed.
async fn next(light: &mut Lines<BufReader<TcpStream>>) -> Result<Option<String>> {
    Ok(tokio::time::timeout(SOON, light.next_line()).await?.ok().flatten())
}

/// A light that has subscribed; none while the box sends lights away.
async fn light(port: u16) -> Option<Lines<BufReader<TcpStream>>> {
    let mut light = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.ok()?).lines();
    light.next_line().await.ok()??;
    light.get_mut().get_mut().write_all(b"SUBSCRIBE TALLY\r\n").await.ok()?;
    light.next_line().await.ok()??;
    Some(light)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_light_follows_vmix_through_the_box_and_is_let_go_when_vmix_freezes() -> Result<()> {
    let _turn = turn().await;
    let (vmix, port) = (FakeVmix::start(0, 4).await?, free_port());
    let more = format!("[relay]\nlisten = \"127.0.0.1:{port}\"");
    let _box = Appliance::start(Settings { vmix_port: vmix.port, more, ..Settings::default() }).await?;
    let mut first = until("the relay", SOON, || light(port)).await?;
    assert_eq!(next(&mut first).await?.as_deref(), Some("TALLY OK 0000"));
    for digits in ["1000", "0120", "2001"] {
        vmix.set_tally(digits);
        assert_eq!(next(&mut first).await?, Some(format!("TALLY OK {digits}")));
    }
    vmix.freeze(true);
    let frozen = now();
    assert_eq!(next(&mut first).await?, None);
    let within = now() - frozen;
    assert!(within < PROMISE + STALL, "{within:?}");
    assert!(light(port).await.is_none(), "nobody is told what was true before");
    vmix.freeze(false);
    let mut again = until("the relay again", SOON, || light(port)).await?;
    assert_eq!(next(&mut again).await?.as_deref(), Some("TALLY OK 2001"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_on_the_machine_itself_needs_its_set_up_code_too() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let url = format!("{}/api/v1/lamps/test", appliance.base());
    let ask =
        async |headers: &[(&str, &str)]| -> Result<u16> { Ok(http::request("POST", &url, headers, b"").await?.status) };
    let code = format!("Bearer {}", appliance.setup_code()?);
    assert_eq!(ask(&[("Authorization", &code)]).await?, 409, "it has no lamps, and says so to whoever may ask");
    assert_eq!(ask(&[]).await?, 401, "a proxy that adds nothing asks like this for everybody");
    assert_eq!(ask(&[("Origin", "http://elsewhere.example")]).await?, 403);
    Ok(())
}
