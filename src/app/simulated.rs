//! The box with a simulated vMix, and the simulated vMix alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;

use super::{App, Failure, Machine, Signal, Signals, own};
use crate::cli;
use crate::settings::{self, Settings, VmixHost};
use crate::simulator::{FeedConfig, Simulator, SimulatorConfig, SimulatorError};
use crate::system::reachable;

/// Long enough to see each state, short enough to see it change.
const DEMO_CUT: Duration = Duration::from_secs(4);

/// Runs a box and a simulated vMix that feeds it, until told to stop. Nothing of it is kept.
///
/// # Errors
/// When something cannot be bound.
pub async fn demo(options: &cli::Demo) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut settings = Settings::default();
    settings.http.listen = options.http;
    let feed = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), settings.srt.listen.port());
    let vmix = Simulator::start(SimulatorConfig {
        tcp: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
        feeds: vec![FeedConfig::calling(feed.to_string())],
        auto_cut: Some(DEMO_CUT),
        ..SimulatorConfig::default()
    });
    let vmix = vmix.await.map_err(cannot_simulate)?;
    settings.vmix.host = VmixHost::Named(Ipv4Addr::LOCALHOST.to_string());
    settings.vmix.tcp_port = vmix.tcp().context("the simulated vMix has no TCP API")?.port();
    settings.cameras = cameras(&vmix);
    let setup_code = own::passing_setup_code()?;
    let mut app = App::start(settings, Machine { setup_code: setup_code.clone(), ..Machine::default() }).await?;
    announce(app.listening.http, &setup_code);
    while app.until(&mut signals).await? != Signal::Stop {}
    app.stop().await;
    vmix.stop().await;
    Ok(())
}

/// Runs a simulated vMix alone, until told to stop.
///
/// # Errors
/// When a port cannot be had, or the feed's address makes no sense.
pub async fn simulate(options: &cli::Simulate) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let everywhere = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    let mut feed = FeedConfig::calling(options.srt.address());
    feed.stream_id = options.stream_id.clone().or_else(|| options.srt.stream_id.clone());
    let passphrase = options.passphrase.as_ref().or(options.srt.passphrase.as_ref());
    feed.passphrase = passphrase.map(|passphrase| passphrase.expose().to_owned());
    feed.key_length = options.srt.key_length.map_or(feed.key_length, |length| length.bytes() as u16);
    feed.latency = options.srt.latency.unwrap_or(feed.latency);
    let vmix = Simulator::start(SimulatorConfig {
        tcp: Some(everywhere(options.tcp_port)),
        http: Some(everywhere(options.http_port)),
        feeds: vec![feed],
        auto_cut: options.auto_cut,
        misbehaviour: options.misbehave.clone(),
        ..SimulatorConfig::default()
    });
    let vmix = vmix.await.map_err(cannot_simulate)?;
    let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
    let (tcp, http) = (port(vmix.tcp()), port(vmix.http()));
    tracing::info!(
        "a simulated vMix answers on TCP port {tcp} (API) and {http} (Web Controller), and sends to {}",
        options.srt.address()
    );
    while signals.next().await != Signal::Stop {}
    vmix.stop().await;
    Ok(())
}

/// The simulated inputs that a person stands behind.
fn cameras(vmix: &Simulator) -> Vec<settings::Camera> {
    let named = vmix.titles().into_iter().zip(vmix.keys()).filter(|(title, _)| title.starts_with("CAM"));
    let camera = |(name, key)| settings::Camera {
        name,
        inputs: vec![settings::InputRef::Text(key)],
        mixes: [1].into(),
        overlays: settings::Overlays::All,
    };
    named.map(camera).collect()
}

fn cannot_simulate(error: SimulatorError) -> Failure {
    match error {
        SimulatorError::Bind { .. } => Failure::CannotBind(error.to_string()),
        SimulatorError::Feed { .. } => Failure::Other(error.into()),
    }
}

/// Prints where the page is, and a QR code of it for the phone in the pocket.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
fn announce(listen: SocketAddr, setup_code: &str) {
    let Some(best) = reachable(listen).into_iter().next() else { return };
    let url = format!("http://{best}/");
    println!("\n  ReturnFeed is running. On this machine:  http://localhost:{}/", listen.port());
    println!("  On a phone in the same network:         {url}");
    println!("  To administer it, at /admin:            set-up code {setup_code}\n");
    if let Ok(code) = qrcode::QrCode::new(&url) {
        println!("{}", code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build());
    }
}
