use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use proptest::prelude::*;

use super::schema::SECTIONS;
use super::*;

mod lamps;

const EXAMPLE: &str = include_str!("../../docs/returnfeed.example.toml");
const DOCUMENTATION: &str = include_str!("../../docs/config.md");

fn parse(text: &str) -> Settings {
    Settings::parse("t.toml", text).unwrap_or_else(|error| panic!("{error}"))
}

/// `line:column: what; remedy` of each mistake.
fn mistakes(text: &str) -> Vec<String> {
    let error = Settings::parse("t", text).expect_err(text);
    error.mistakes().iter().map(|mistake| mistake.summary().strip_prefix("t:").unwrap().to_owned()).collect()
}

/// The example with its keys and headings switched on: what has the form of TOML, not of a sentence.
fn uncommented_example() -> String {
    let switched_on = |line: &str| {
        let bare = line.strip_prefix("# ")?;
        let key =
            bare.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        (key || bare.starts_with('[')).then(|| bare.to_owned())
    };
    EXAMPLE.lines().map(|line| switched_on(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn an_empty_file_and_the_example_mean_the_defaults() {
    assert_eq!(parse(""), Settings::default());
    assert_eq!(parse("\u{feff}# only a comment\r\n"), Settings::default());
    assert_eq!(parse(EXAMPLE), Settings::default());
    assert_eq!(Settings::default().http.listen.to_string(), "[::]:8889");
    assert_eq!(Settings::default().srt.listen.to_string(), "[::]:8890");
    assert_eq!(Settings::default().srt.latency, Duration::from_millis(120));
    assert_eq!(Settings::default().webrtc.listen.to_string(), "[::]:8189");
    assert_eq!(Settings::default().webrtc.max_viewers, 250);
    assert_eq!(Settings::default().vmix, Vmix { host: VmixHost::Auto, tcp_port: 8099, http_port: 8088 });
}

#[test]
fn https_is_on_where_it_is_asked_for_and_on_a_box_unless_it_is_switched_off() {
    for (text, elsewhere, on_a_box) in [
        ("", None, Some("[::]:8443")),
        ("https.enabled = true", Some("[::]:8443"), Some("[::]:8443")),
        ("https.listen = '0.0.0.0:443'", Some("0.0.0.0:443"), Some("0.0.0.0:443")),
        ("https.enabled = false\nhttps.listen = '0.0.0.0:443'", None, None),
    ] {
        let https = parse(text).https;
        let [plain, boxed] = [false, true].map(|boxed| https.address(boxed).map(|address| address.to_string()));
        assert_eq!((plain.as_deref(), boxed.as_deref()), (elsewhere, on_a_box), "{text}");
    }
    let own = parse("https.certificate = '/a.crt'\nhttps.key = '/a.key'\nhttps.redirect = true").https;
    assert_eq!(own.own, Some(("/a.crt".into(), "/a.key".into())));
    assert!(own.redirect);
    for (wrong, what) in [
        ("https.certificate = '/a.crt'", "`certificate` without `key`"),
        ("https.key = '/a.key'", "`key` without `certificate`"),
        ("https.certificate = 'a.crt'\nhttps.key = '/a.key'", "`a.crt` does not begin with /"),
        ("https.listen = '[::]:8889'", "TCP port 8889 is already taken by [http] listen"),
    ] {
        let error = Settings::parse("f", wrong).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    assert_eq!(Settings::default().needs_restart(&parse("https.redirect = true")), ["https"]);
}

#[test]
fn a_public_name_needs_https_and_what_its_challenge_needs() {
    let acme = parse("acme.names = ['Return.Example.com', '방송.한국']").acme.unwrap();
    assert_eq!(acme.names, ["return.example.com", "xn--vh3b23h.xn--3e0b707e"]);
    assert_eq!((acme.challenge, acme.directory.as_str()), (Challenge::Http01, LETS_ENCRYPT));
    assert_eq!(parse("acme.names = ['a.example.com']").https.address(false), Some(HTTPS_EVERYWHERE));
    let own = "acme.directory = 'https://ca.studio.internal/acme'\nacme.authority = '/root.pem'";
    parse(&format!("acme.names = ['box.studio.internal']\n{own}"));
    let by_dns = "acme.names = ['*.example.com']\nacme.challenge = 'dns-01'\nacme.dns_hook = '/hook'";
    assert_eq!(parse(by_dns).acme.unwrap().dns_hook, Some("/hook".into()));
    for (wrong, what) in [
        ("[acme]", "[acme] has no `names`"),
        ("acme.names = []", "`names` has 0 names, not 1 to 20"),
        ("acme.names = ['a.example.com', 'A.example.com']", "`names` names this twice"),
        ("acme.names = ['192.168.1.20']", "`192.168.1.20` is an address, and this is for names"),
        ("acme.names = ['returnfeed.local']", "`returnfeed.local` is known on its own network alone"),
        ("acme.names = ['box.lan']", "`box.lan` is no name of the public DNS"),
        ("acme.names = ['*.example.com']", "`*.example.com` can be confirmed by challenge = \"dns-01\" alone"),
        ("acme.names = ['a.example.com']\nacme.challenge = 'dns-01'", "challenge = \"dns-01\" without a `dns_hook`"),
        ("acme.names = ['a.example.com']\nacme.dns_hook = '/hook'", "`dns_hook` says nothing without"),
        ("acme.names = ['a.example.com']\nacme.dns_wait_s = 3601", "`dns_wait_s` must be 0 to 3600"),
        ("acme.names = ['a.example.com']\nacme.directory = 'http://a.b/'", "`http://a.b/` is no https:// address"),
        ("acme.names = ['a.example.com']\nacme.email = 'crew'", "`crew` is no address of mail"),
        ("acme.names = ['a.example.com']\nhttps.enabled = false", "[acme] is for HTTPS, which is switched off"),
    ] {
        let error = Settings::parse("f", wrong).unwrap_err().to_string();
        assert!(error.contains(what), "{wrong}: {error}");
    }
    assert_eq!(Settings::default().needs_restart(&parse(by_dns)), ["https", "acme"]);
}

#[test]
fn proxies_that_are_believed_are_addresses_and_networks_and_never_everybody() {
    let settings = parse("http.trusted_proxies = ['127.0.0.1', '::1', '10.1.2.3/8', '::ffff:192.168.1.5']");
    let networks: Vec<_> = settings.http.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["127.0.0.1/32", "::1/128", "10.0.0.0/8", "192.168.1.5/32"]);
    for wrong in ["proxy.example", "10.0.0.0/33", "0.0.0.0/0", "::/0", "10.0.0.1:80"] {
        let error = Settings::parse("f", &format!("http.trusted_proxies = ['{wrong}']")).unwrap_err();
        assert!(error.to_string().contains("trusted_proxies = [\"192.168.1.5\", \"10.0.0.0/8\"]"), "{wrong}: {error}");
    }
    assert_eq!(Settings::default().needs_restart(&settings), ["http.trusted_proxies"]);
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let text = uncommented_example();
    let mut settings = parse(&text);
    let table: toml::Table = text.parse().unwrap();
    for section in SECTIONS {
        let written = match &table[section.name] {
            // What excludes one another stands in several of them.
            toml::Value::Array(tables) => tables.iter().flat_map(|table| table.as_table().unwrap().clone()).collect(),
            table => table.as_table().unwrap().clone(),
        };
        for key in section.keys {
            assert!(
                written.contains_key(*key),
                "{} {key} is missing in docs/returnfeed.example.toml",
                section.heading()
            );
        }
    }
    assert!(settings.srt.passphrase.take().is_some() && settings.srt.key.take().is_some());
    assert!(settings.access.pin.is_some());
    settings.access = Access::default();
    assert_eq!(settings.cameras.len(), 1);
    settings.cameras.clear();
    settings.streams.clear();
    assert_eq!(settings.lamps.len(), 4);
    settings.lamps.clear();
    assert_eq!(settings.strip.take(), Some(Strip { leds: 8, order: ColourOrder::default(), device: (0, 0) }));
    assert!(settings.network.address.is_some());
    settings.network = Network::default();
    assert!(settings.wifi.name.is_some() && settings.wifi.passphrase.is_some());
    settings.wifi = Wifi::default();
    assert!(settings.relay.listen.take().is_some() && !std::mem::take(&mut settings.relay.from).is_empty());
    assert!(settings.https.own.take().is_some() && settings.https.enabled.take().is_some());
    assert_eq!(settings.https.listen.take(), Some(HTTPS_EVERYWHERE));
    let acme = settings.acme.take().unwrap();
    assert_eq!((acme.directory.as_str(), acme.dns_wait), (LETS_ENCRYPT, Duration::from_secs(60)));
    assert_eq!(settings, Settings::default());
}

#[test]
fn the_documentation_names_every_key_and_exit_code() {
    for section in SECTIONS {
        assert!(DOCUMENTATION.contains(&format!("## `{}`", section.heading())), "{}", section.heading());
        for key in section.keys {
            assert!(DOCUMENTATION.contains(&format!("| `{key}` |")), "{} {key}", section.heading());
        }
    }
    for code in 0..=4 {
        assert!(DOCUMENTATION.contains(&format!("| {code} |")), "exit code {code}");
    }
}

#[test]
fn everything_can_be_set() {
    let settings = parse(
        r#"
        http = { listen = "127.0.0.1:80" }
        srt.listen = "0.0.0.0:9000"
        srt.latency_ms = 20
        srt.passphrase = "0123456789"
        [webrtc]
        listen = "[fe80::1%2]:8189"
        public_addresses = ["203.0.113.7", "2001:db8::1"]
        max_viewers = 1_000
        threads = 3
        pace_mbps = 50
        join_mbps = 20
        [sound]
        bitrate_kbps = 64
        lip_sync = true
        [network]
        address = "192.168.1.20/24"
        gateway = "192.168.1.1"
        dns = ["192.168.1.1", "fd00::1"]
        [vmix]
        host = "VMIX-PC"
        tcp_port = 1
        http_port = 2
        [log]
        level = "debug"
        [[stream]]
        name = "studio2/pgm"
        source = "srt://[2001:db8::2]:9000?streamid=%23!::r=live/pgm,m=request&latency=50&passphrase=abcdefghij&pbkeylen=32&mode=caller"
        [[stream]]
        name = "iso1"
        passphrase = "9876543210"
        [[camera]]
        name = "카메라 1"
        inputs = ["1b0ea1a4-6c0e-4c5f-9a86-d2e64d5d3d3d", 4, "CAM 1"]
        mixes = [2, 1]
        overlays = []
        [[camera]]
        name = "2"
        inputs = [2]
        "#,
    );
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:80");
    assert_eq!(settings.srt.latency, Duration::from_millis(20));
    assert_eq!(settings.srt.passphrase.as_ref().unwrap().expose(), "0123456789");
    assert_eq!(settings.webrtc.public_addresses.len(), 2);
    assert_eq!(settings.webrtc.max_viewers, 1000);
    assert_eq!((settings.webrtc.threads, settings.webrtc.pace_mbps, settings.webrtc.join_mbps), (3, 50, 20));
    assert_eq!(settings.sound, Sound { bitrate_kbps: 64, lip_sync: true });
    assert_eq!(settings.vmix.host, VmixHost::Named("VMIX-PC".into()));
    assert_eq!(settings.log.level.as_str(), "debug");
    let [pulled, pushed] = &settings.streams[..] else { panic!() };
    let source = pulled.source.as_ref().unwrap();
    assert_eq!((pulled.name.short(), source.address()), ("studio2/pgm".into(), "[2001:db8::2]:9000".into()));
    assert_eq!(source.stream_id.as_deref(), Some("#!::r=live/pgm,m=request"));
    assert_eq!(source.latency, Some(Duration::from_millis(50)));
    assert_eq!((source.passphrase.as_ref(), source.key_length.unwrap().bytes()), (None, 32));
    assert_eq!(pulled.passphrase.as_ref().unwrap().expose(), "abcdefghij");
    assert_eq!((pushed.source.as_ref(), pushed.passphrase.is_some()), (None, true));
    let [first, second] = &settings.cameras[..] else { panic!() };
    assert_eq!(first.inputs[1..], [InputRef::Number(4), InputRef::Text("CAM 1".into())]);
    assert_eq!((first.mixes.clone(), first.overlays.counts(1)), (BTreeSet::from([1, 2]), false));
    assert_eq!((second.mixes.clone(), second.overlays.counts(9)), (BTreeSet::from([1]), true));
    assert!(!format!("{settings:?}").contains("abcdefghij"));
}

#[test]
fn every_mistake_is_named_with_its_place_and_its_remedy() {
    const ADDRESS: &str =
        "write an IP address and a port, as in `listen = \"[::]:8889\"`; `[::]` means every IPv6 and IPv4 address";
    const SYNTAX: &str = "write `key = value`, each on a line of its own: texts in \"quotes\", lists in [brackets], sections as [section]";
    const PUBLIC: &str = "write the router's outer IP address, as in `public_addresses = [\"203.0.113.7\"]`; the port is that of `listen`";
    let table: &[(&str, &[&str])] = &[
        // Names.
        ("[http]\nlistn = 1", &["2:1: unknown key `listn` in [http]; did you mean `listen`?"]),
        (
            "[srt]\n\n  colour = 1",
            &["3:3: unknown key `colour` in [srt]; the keys of [srt] are `listen`, `latency_ms`, `passphrase`, `key`"],
        ),
        ("[[cameras]]\nname = 'a'", &["1:3: unknown section `cameras`; did you mean `[[camera]]`?"]),
        ("listen = 1", &["1:1: `listen` stands in no section; put it below its section's heading, as in `[http]`"]),
        (
            "zebra = 1",
            &[
                "1:1: unknown key `zebra`; the sections are [http], [https], [acme], [srt], [webrtc], [turn], [sound], [network], [wifi], [vmix], [relay], [access], [log], [[stream]], [[camera]], [[lamp]], [strip]",
            ],
        ),
        (
            "[camera]\nname = 'a'",
            &[
                "1:2: `camera` is written in the wrong way; it can stand several times: write its heading as `[[camera]]`, and its keys on the lines below",
            ],
        ),
        (
            "[[http]]",
            &[
                "1:3: `http` is written in the wrong way; it stands once: write its heading as `[http]`, and its keys on the lines below",
            ],
        ),
        // Types.
        (
            "[http]\nlisten = 8889",
            &[
                "2:10: `listen` must be an address and a port in quotes, but is a number; write it as `listen = \"[::]:8889\"`",
            ],
        ),
        (
            "[srt]\nlatency_ms = \"120\"",
            &["2:14: `latency_ms` must be a whole number, but is a text; write it as `latency_ms = 120`"],
        ),
        (
            "[srt]\nlatency_ms = 0.1",
            &[
                "2:14: `latency_ms` must be a whole number, but is a number with a decimal point; write it as `latency_ms = 120`",
            ],
        ),
        (
            "[[camera]]\nname = 'a'\ninputs = 1",
            &["3:10: `inputs` must be a list, but is a number; write it as `inputs = [1, \"CAM 1\"]`"],
        ),
        // Addresses.
        ("[http]\nlisten = ':8889'", &[&format!("2:10: `:8889` is no address to listen on; {ADDRESS}")]),
        (
            "[http]\nlisten = 'localhost:8889'",
            &[&format!("2:10: `localhost:8889` is no address to listen on; {ADDRESS}")],
        ),
        ("[http]\nlisten = '[::]:70000'", &[&format!("2:10: `[::]:70000` is no address to listen on; {ADDRESS}")]),
        ("[http]\nlisten = '224.0.0.1:1'", &[&format!("2:10: `224.0.0.1:1` is a multicast address; {ADDRESS}")]),
        (
            "[srt]\nlisten = '10.0.0.1:8189'",
            &["2:10: UDP port 8189 is already taken by [webrtc] listen; choose another port"],
        ),
        (
            "[srt]\nlisten = '[::]:9'\n[webrtc]\nlisten = '127.0.0.1:9'",
            &["4:10: UDP port 9 is already taken by [srt] listen; choose another port"],
        ),
        (
            "[webrtc]\npublic_addresses = ['1.2.3.4', '1.2.3.4', 'a.b', '0.0.0.0', 7]",
            &[
                "2:32: `public_addresses` names this twice; leave one out",
                &format!("2:43: `a.b` is no IP address that a browser could reach; {PUBLIC}"),
                &format!("2:50: `0.0.0.0` is no IP address that a browser could reach; {PUBLIC}"),
                &format!("2:61: `public_addresses` holds texts in quotes; {PUBLIC}"),
            ],
        ),
        // Ranges.
        ("[srt]\nlatency_ms = -1", &["2:14: `latency_ms` must be 10 to 10000; write it as `latency_ms = 120`"]),
        (
            "[srt]\nlatency_ms = 99999999999999999999",
            &["2:14: `latency_ms` must be 10 to 10000; write it as `latency_ms = 120`"],
        ),
        ("[webrtc]\nmax_viewers = 0", &["2:15: `max_viewers` must be 1 to 10000; write it as `max_viewers = 250`"]),
        ("[webrtc]\nthreads = 17", &["2:11: `threads` must be 0 to 16; write it as `threads = 0`"]),
        (
            "[webrtc]\npace_mbps = 4",
            &["2:13: `pace_mbps` is less than a picture needs; write 5 to 10000, or 0 for no pacing"],
        ),
        ("[webrtc]\njoin_mbps = 0", &["2:13: `join_mbps` must be 5 to 10000; write it as `join_mbps = 100`"]),
        ("[sound]\nbitrate_kbps = 8", &["2:16: `bitrate_kbps` must be 32 to 256; write it as `bitrate_kbps = 128`"]),
        (
            "[sound]\nlip_sync = 1",
            &["2:12: `lip_sync` must be true or false, but is a number; write it as `lip_sync = true`"],
        ),
        ("[vmix]\ntcp_port = 0", &["2:12: `tcp_port` must be 1 to 65535; write it as `tcp_port = 8099`"]),
        (
            "[vmix]\ntcp_port = 8088",
            &[
                "2:12: `tcp_port` and `http_port` are both 8088, but vMix has two ports; vMix's own are tcp_port = 8099 and http_port = 8088",
            ],
        ),
        (
            "[vmix]\nhost = '10.0.0.1:8099'",
            &["2:8: `host` has no port; leave it out here, and use `tcp_port` and `http_port`"],
        ),
        (
            "[vmix]\nhost = 'http://a'",
            &[
                "2:8: `http://a` is no address of vMix; write \"auto\" for the address that sends the SRT feed, or vMix's IP address or computer name",
            ],
        ),
        (
            "[vmix]\nhost = '10.0.0.300'",
            &[
                "2:8: `10.0.0.300` is no address of vMix; write \"auto\" for the address that sends the SRT feed, or vMix's IP address or computer name",
            ],
        ),
        ("[log]\nlevel = 'inof'", &["2:9: `level` cannot be \"inof\"; did you mean \"info\"?"]),
        ("[log]\nlevel = 'loud'", &["2:9: `level` cannot be \"loud\"; write one of error, warn, info, debug, trace"]),
        (
            "[srt]\npassphrase = 'short'",
            &[
                "2:14: an SRT passphrase has 10 to 79 characters, this one has 5; choose one of that length, and enter the same in vMix",
            ],
        ),
        // Streams.
        ("[[stream]]", &["1:1: this [[stream]] has no `name`; add a line such as `name = \"pgm\"`"]),
        (
            "[[stream]]\nname = 'a'\n[[stream]]\nname = 'live/a'",
            &["4:8: there is already a [[stream]] named \"a\"; give each stream a name of its own, or leave one out"],
        ),
        (
            "[[stream]]\nname = 'ws'",
            &[
                "2:8: \"ws\" is reserved for the box itself; choose another stream name; write a name such as \"pgm\" or \"studio2/pgm\"",
            ],
        ),
        (
            "[[stream]]\nname = 'a'\nsource = 'srt://h:1?passphrase=0123456789'\npassphrase = '0123456789'",
            &["4:14: the passphrase stands both here and in `source`; leave one of them out"],
        ),
        (
            "[[stream]]\nname = 'a'\nsource = 'rtmp://h:1'",
            &[
                "3:10: `source`: the address must start with `srt://`; write it as \"srt://192.168.1.20:9000?streamid=pgm\"",
            ],
        ),
        (
            "[[stream]]\nname = 'a'\nsource = 'srt://h'",
            &["3:10: `source`: the address names no port; add the listener's port, as in \"srt://host:9000\""],
        ),
        (
            "[[stream]]\nname = 'a'\nsource = 'srt://h:1?lateny=20&latency=120000&mode=listener&pbkeylen=128#!::r=x'",
            &[
                "3:10: `source`: a `#` ends the address; write `%23` for each `#` of a stream ID",
                "3:10: `source`: unknown parameter `lateny`; did you mean `latency`?",
                "3:10: `source`: `latency` must be 10 to 10000, in milliseconds; write `latency=120` (ffmpeg's microseconds divided by 1000)",
                "3:10: `source`: `mode` must be `caller`: with a source it is the box that calls; leave `mode` out; to have the encoder call the box, leave `source` out",
                "3:10: `source`: `pbkeylen` must be 16, 24 or 32 bytes (AES-128, AES-192, AES-256); write `pbkeylen=16`, or leave it out",
            ],
        ),
        (
            "[[stream]]\nname = 'a'\nsource = 'srt://h:1?pbkeylen=16'",
            &["3:10: `pbkeylen` without a passphrase encrypts nothing; add the passphrase, or leave it out"],
        ),
        // Cameras.
        ("[[camera]]\nname = 'a'", &["1:1: this [[camera]] has no `inputs`; add a line such as `inputs = [1]`"]),
        (
            "[[camera]]\nname = 'a'\ninputs = []",
            &[
                "3:10: `inputs` is empty, so this camera could never be live; name the vMix inputs that show it, as in `inputs = [1]`",
            ],
        ),
        (
            "[[camera]]\nname = 'a'\ninputs = [0, '', 1, 1]",
            &[
                "3:11: vMix numbers its inputs from 1 (to 10000 at most); name an input by its number, its key or its title, as in `inputs = [1, \"CAM 1\"]`",
                "3:14: an input's key or title is empty; name an input by its number, its key or its title, as in `inputs = [1, \"CAM 1\"]`",
                "3:21: `inputs` names this twice; leave one out",
            ],
        ),
        (
            "[[camera]]\nname = 'a'\ninputs = [1]\nmixes = [17]\noverlays = [9]",
            &[
                "4:10: `mixes` holds numbers from 1 to 16; write it as `mixes = [1]`",
                "5:13: `overlays` holds numbers from 1 to 8; write it as `overlays = [1]`",
            ],
        ),
        (
            "[[camera]]\nname = 'a'\ninputs = [1]\n[[camera]]\nname = 'a'\ninputs = [2]",
            &["5:8: there is already a [[camera]] named \"a\"; give each camera a name of its own"],
        ),
        (
            "[[camera]]\nname = ' a'\ninputs = [1]",
            &[
                "2:8: a camera's name neither starts nor ends with a space, and has no line break or tab; write a name such as \"Camera 1\"",
            ],
        ),
        // Syntax, beside other mistakes.
        (
            "[http]\nlisten = [::]:8889\n[log]\nlevel = 1",
            &[
                &format!("2:14: unexpected key or value, expected newline, `#`; {SYNTAX}"),
                "4:9: `level` must be a text in quotes, but is a number; write it as `level = \"info\"`",
            ],
        ),
        ("[http]\nlisten = '[::]:1'\nlisten = '[::]:2'", &[&format!("3:1: duplicate key; {SYNTAX}")]),
    ];
    let mut differ = String::new();
    for (text, expected) in table {
        let found = mistakes(text);
        if found != *expected {
            differ += &format!("in {text:?}\n  expected {expected:#?}\n  found {found:#?}\n");
        }
    }
    assert!(differ.is_empty(), "{differ}");
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_caret() {
    let error = Settings::parse("/etc/r.toml", "# x\n[http]\nlisten = \"8889\"\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "/etc/r.toml:3:10: `8889` is no address to listen on; write an IP address and a port, as in \
         `listen = \"[::]:8889\"`; `[::]` means every IPv6 and IPv4 address\n \
         3 | listen = \"8889\"\n   |          ^^^^^^\n1 mistake; nothing was started or changed"
    );
    let korean = Settings::parse("t", "[[camera]]\nname = \"가\"\ninputs = [\"나\", 0]").unwrap_err();
    assert!(korean.to_string().contains("\n 3 | inputs = [\"나\", 0]\n   |                 ^\n"), "{korean}");
}

#[test]
fn the_documentation_shows_a_mistake_as_it_is_shown() {
    let error = Settings::parse("/etc/returnfeed/returnfeed.toml", "[http]\nlistn = \"[::]:80\"\n").unwrap_err();
    assert!(DOCUMENTATION.contains(&format!("```\n{error}\n```\n")), "{error}");
}

#[test]
fn no_message_shows_a_passphrase() {
    for text in [
        "[srt]\npassphrase = \"secret\"",
        "[srt]\n\"passphrase\" = 'secret'",
        "[srt]\npassphras = \"secret\"",
        "[srt]\nPASSPHRASE = \"secret\"",
        "[srt]\npassphrase = \"secret",
        "[srt]\npassphrase = secret",
        "passphrase = \"secret\"",
        "srt = { passphrase = \"secret\", foo = 1 }",
        "srt = { foo = 1, passphrase = \"secret\" }",
        "[[stream]]\nname = 'a'\nsource = \"srt://h:1?foo=1&passphrase=secret&x=1\"",
        "[[stream]]\nname = 'a'\nsource = \"srt//h:1?passphrase=secret\"",
        "[srt]\nkey = \"secret\"",
        "[[stream]]\nname = 'a'\nkey = 'secret words'",
        "srt = { foo = 1, key = \"secret\" }",
        "access.\"pin\" = \"secret\"\nfoo = 1",
        "[access]\npin = secret",
        "[access]\npin = \"secret\"",
        "access = { viewing = \"open\", pin = \"secret\", foo = 1 }",
    ] {
        let error = Settings::parse("t", text).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{text}:\n{error}");
        assert!(!format!("{error:?}").contains("secret"), "{text}:\n{error:?}");
    }
}

#[test]
fn who_may_do_what_is_read_and_checked() {
    let settings = parse(
        "[srt]\nkey = 'for-every-stream'\n[[stream]]\nname = 'pgm'\nkey = 'for-pgm-alone'\n[access]\nviewing = 'pin'\n\
         pin = '482915'\nadministration = 'lan'\nown_networks = []\nview_from = ['10.0.0.0/8', '192.168.1.9']\n\
         origins = ['https://studio.example']",
    );
    assert_eq!(settings.srt.key, Some(Secret::new("for-every-stream")));
    assert_eq!(settings.streams[0].key, Some(Secret::new("for-pgm-alone")));
    let networks = ["10.0.0.0/8", "192.168.1.9/32"].map(|network| network.parse().unwrap());
    let access = Access {
        viewing: crate::access::Viewing::Pin,
        pin: Some(Secret::new("482915")),
        administration: Some(Administration::Lan),
        own_networks: Some(Vec::new()),
        view_from: networks.into(),
        origins: vec!["https://studio.example".into()],
        ..Access::default()
    };
    assert_eq!(settings.access, access);
    assert_eq!(parse("").needs_restart(&settings), Vec::<&str>::new(), "it is in force at once");
    for (text, mistake) in [
        ("viewing = 'pin'", "1:2: viewing = \"pin\" without a `pin`; add six digits, as in `pin = \"482915\"`"),
        ("pin = '12345'", "2:7: a PIN has six digits; choose six digits of your own, in quotes"),
        ("publish_from = []", "2:16: `publish_from` is empty, so nobody could; name networks, or leave it out"),
        ("viewing = 'closed'", "2:11: `viewing` cannot be \"closed\"; write one of open, pin, links"),
    ] {
        let found = mistakes(&format!("[access]\n{text}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(mistake), "{found:?}");
    }
    let found = mistakes("[[stream]]\nname = 'a'\nsource = 'srt://h:1'\nkey = 'for-nobody'");
    assert!(found[0].contains("nobody sends a stream that the box fetches"), "{found:?}");
}

#[test]
fn all_mistakes_of_a_file_are_listed_in_its_order() {
    let found = mistakes("[http]\nlisten = 1\nb = 1\n[[camera]]\n[vmix]\nhost = ''\n[[stream]]\nname = 'a b'\n");
    let lines: Vec<&str> = found.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["2", "3", "4", "4", "6", "8"]);
}

#[test]
fn addresses_overlap_only_within_their_family_and_protocol() {
    for (srt, webrtc, fine) in [
        ("127.0.0.1:9", "127.0.0.2:9", true),
        ("127.0.0.1:9", "[::1]:9", true),
        ("0.0.0.0:9", "[::1]:9", true),
        ("[::]:0", "[::]:0", true),
        ("[::]:8889", "[::]:9", true),
        ("0.0.0.0:9", "[::]:9", false),
        ("0.0.0.0:9", "127.0.0.1:9", false),
        ("[::1]:9", "[::]:9", false),
        ("127.0.0.1:9", "[::ffff:127.0.0.1]:9", false),
    ] {
        let text = format!("srt.listen = '{srt}'\nwebrtc.listen = '{webrtc}'");
        assert_eq!(Settings::parse("t", &text).is_ok(), fine, "{srt} {webrtc}");
    }
}

#[test]
fn the_relay_needs_ports_of_its_own_unless_it_is_off() {
    for (text, wrong) in [
        ("webrtc.listen = '[::]:3478'", "1:17: UDP port 3478 is already taken by [turn] listen"),
        ("http.listen = '[::]:3478'", "1:15: TCP port 3478 is already taken by [turn] listen"),
        ("[turn]\nlisten = '0.0.0.0:8890'", "2:10: UDP port 8890 is already taken by [srt] listen"),
        ("[turn]\nlisten = '0.0.0.0:8889'", "2:10: TCP port 8889 is already taken by [http] listen"),
    ] {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{wrong}; ")), "{found:?}");
    }
    let off = parse("http.listen = '[::]:3478'\nturn.enabled = false");
    assert!(!off.turn.enabled && Settings::default().turn.enabled);
    assert_eq!(Settings::default().turn.listen.to_string(), "[::]:3478");
}

#[test]
fn the_media_leaves_its_tcp_port_to_whatever_else_of_the_box_listens_there() {
    for (text, boxed, by) in [
        ("", true, None),
        ("http.listen = '[::]:8189'", false, Some("http.listen")),
        ("webrtc.listen = '[::]:8889'", false, Some("http.listen")),
        ("webrtc.listen = '[::]:443'\nhttps.listen = '127.0.0.1:443'", false, Some("https.listen")),
        ("webrtc.listen = '127.0.0.2:443'\nhttps.listen = '127.0.0.1:443'", false, None),
        ("webrtc.listen = '[::]:8443'", true, Some("https.listen")),
        ("webrtc.listen = '[::]:8443'", false, None),
        ("webrtc.listen = '[::]:5349'", true, Some("turn.tls_listen")),
        ("webrtc.listen = '[::]:5349'\nturn.enabled = false", true, None),
        ("relay.listen = '0.0.0.0:8189'", false, Some("relay.listen")),
        ("webrtc.listen = '[::]:0'\nhttp.listen = '[::]:0'", false, None),
    ] {
        assert_eq!(parse(text).media_tcp_taken_by(boxed), by, "{text} {boxed}");
    }
}

#[test]
fn what_is_fixed_when_a_socket_is_bound_needs_a_restart() {
    let before = parse("");
    let after = parse(
        "srt = { listen = '[::]:1', latency_ms = 50 }\nhttp.listen = '[::]:2'\nwebrtc.max_viewers = 3\nlog.level = 'warn'",
    );
    assert_eq!(before.needs_restart(&after), ["http.listen", "srt.listen", "srt.latency_ms", "webrtc.max_viewers"]);
    let after =
        parse("webrtc = { threads = 2, pace_mbps = 9, join_mbps = 9 }\nsound = { bitrate_kbps = 96, lip_sync = true }");
    assert_eq!(before.needs_restart(&parse("turn.enabled = false")), ["turn.enabled"]);
    let of_media = ["webrtc.threads", "webrtc.pace_mbps", "webrtc.join_mbps", "sound.bitrate_kbps", "sound.lip_sync"];
    assert_eq!(before.needs_restart(&after), of_media);
    assert!(before.needs_restart(&before).is_empty());
}

#[test]
fn the_relay_is_off_until_it_has_an_address_of_its_own() {
    assert_eq!(Settings::default().relay.listen, None);
    assert_eq!(parse("[relay]").relay.listen, None);
    let on = parse("[relay]\nlisten = '[::]:8099'");
    assert_eq!(on.relay.listen, "[::]:8099".parse().ok());
    assert_eq!(Settings::default().needs_restart(&on), ["relay.listen"]);
    let taken = mistakes("[relay]\nlisten = '0.0.0.0:8889'");
    assert_eq!(taken, ["2:10: TCP port 8889 is already taken by [http] listen; choose another port"]);
    let taken = mistakes("[relay]\nlisten = '[::]:8099'\n[http]\nlisten = '[::]:8099'");
    assert_eq!(taken, ["4:10: TCP port 8099 is already taken by [relay] listen; choose another port"]);
    assert!(mistakes("[relay]\nlisten = 8099")[0].contains("`listen = \"[::]:8099\"`"));
    parse("[relay]\nlisten = '[::]:8890'");
}

#[test]
fn a_fixed_address_must_be_one_and_its_router_beside_it() {
    for (text, wrong) in [
        ("[network]\naddress = '192.168.1.0/24'", "2:11: `192.168.1.0/24` is no address that a box can have"),
        (
            "[network]\naddress = '192.168.1.20/24'\ngateway = '192.168.2.1'",
            "3:11: the router 192.168.2.1 is not in the network 192.168.1.20/24",
        ),
        ("[network]\ngateway = '192.168.2.1'", "2:11: `gateway` without `address` says nothing"),
        ("[network]\ndns = ['192.168.2.1']", "2:7: `dns` without `address` says nothing"),
        ("[network]\naddress = '10.0.0.2/24'\ndns = ['router']", "3:8: `router` is no IP address"),
    ] {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{wrong}; ")), "{found:?}");
    }
    let settings = parse("[network]\naddress = '10.0.0.2/24'");
    assert_eq!(Settings::default().needs_restart(&settings), ["network"]);
}

#[test]
fn a_file_is_read_whole_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("returnfeed.toml");
    let missing = Settings::load(&path).unwrap_err();
    assert!(missing.to_string().contains("returnfeed.toml: cannot read the settings"), "{missing}");
    assert!(Settings::load_named_or_default(Some(&path)).is_err());

    std::fs::write(&path, "[vmix]\nhost = '10.0.0.5'\n").unwrap();
    assert_eq!(Settings::load(&path).unwrap().vmix.host, VmixHost::Named("10.0.0.5".into()));

    std::fs::write(&path, b"# caf\xe9\n[vmix]\n").unwrap();
    let latin = Settings::load(&path).unwrap_err();
    assert_eq!((latin.mistakes()[0].line, latin.mistakes()[0].column), (1, 6));
    assert!(latin.mistakes()[0].what.contains("not UTF-8"));

    std::fs::write(&path, "#".repeat(LARGEST_FILE + 1)).unwrap();
    assert!(Settings::load(&path).unwrap_err().to_string().contains("more than 256 KiB"));
    assert!(matches!(Settings::load(directory.path()), Err(SettingsError::Unreadable { .. })));
}

#[test]
fn a_bind_error_names_the_setting_its_line_and_the_remedy() {
    let settings = Settings::parse("/etc/r.toml", "[http]\nlisten = '[::]:80'").unwrap();
    let said =
        |key, addr: &str, kind: ErrorKind| settings.describe_bind_error(key, addr.parse().unwrap(), &Error::from(kind));
    let in_use = said("http.listen", "[::]:80", ErrorKind::AddrInUse);
    assert!(in_use.starts_with("/etc/r.toml:2: cannot listen on [http] listen = \"[::]:80\": port 80 is in use"));
    assert!(in_use.contains("`sudo ss -ltnup 'sport = :80'`"), "{in_use}");
    assert!(said("http.listen", "[::]:80", ErrorKind::PermissionDenied).contains("cap_net_bind_service"));
    let default = said("srt.listen", "192.0.2.1:8890", ErrorKind::AddrNotAvailable);
    assert!(default.starts_with("cannot listen on [srt] listen = "), "{default}");
    assert!(default.contains("no address 192.0.2.1; `ip -brief address`"), "{default}");
    let no_ipv6 = Error::from_raw_os_error(nix::errno::Errno::EAFNOSUPPORT as i32);
    assert!(describe_bind_error("srt.listen", "[::]:1".parse().unwrap(), &no_ipv6).contains("write \"0.0.0.0:1\""));
}

#[test]
fn the_environment_names_the_state_directory_and_the_log() {
    let read = |variables: &[(&str, &str)]| {
        let variables = variables.to_vec();
        let find = move |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(*value))
        };
        Environment::from_variables(find, Some((8, 42)))
    };
    let state = |variables| read(variables).state_directory;
    assert_eq!(state(&[]), PathBuf::from("/var/lib/returnfeed"));
    assert_eq!(state(&[("HOME", "/home/a")]), PathBuf::from("/home/a/.local/state/returnfeed"));
    assert_eq!(state(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")]), PathBuf::from("/s/returnfeed"));
    assert_eq!(state(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "s")]), state(&[("HOME", "/home/a")]));
    assert_eq!(state(&[("STATE_DIRECTORY", "/v/a:/v/b"), ("XDG_STATE_HOME", "/s")]), PathBuf::from("/v/a"));
    assert!(read(&[("JOURNAL_STREAM", "8:42")]).logs_to_journal);
    for not_ours in ["8:43", "8", "", "a:b"] {
        assert!(!read(&[("JOURNAL_STREAM", not_ours)]).logs_to_journal);
    }
    assert_eq!(read(&[("RUST_LOG", "debug")]).log_filter.as_deref(), Some("debug"));
    assert_eq!(read(&[("RUST_LOG", "")]).log_filter, None);
}

#[test]
fn the_environment_says_who_watches_the_program() {
    let read = |name: &'static str, value: &'static str| {
        Environment::from_variables(move |asked| (asked == name).then(|| value.into()), None)
    };
    assert_eq!(read("WATCHDOG_USEC", "10000000").watchdog, Some(Duration::from_secs(10)));
    for nobody in ["0", "", "soon", "-1"] {
        assert_eq!(read("WATCHDOG_USEC", nobody).watchdog, None);
    }
    assert_eq!(read("NOTIFY_SOCKET", "@x").notify_socket, Some("@x".into()));
    assert_eq!(read("NOTIFY_SOCKET", "").notify_socket, None);
}

#[test]
fn the_environment_says_where_the_key_of_the_updates_is() {
    let read = |value: &'static str| {
        let variable = move |asked: &str| (asked == "RETURNFEED_UPDATE_KEY").then(|| value.into());
        Environment::from_variables(variable, None).update_key
    };
    assert_eq!(read("/usr/share/returnfeed/update-key.pem"), Some("/usr/share/returnfeed/update-key.pem".into()));
    assert_eq!((read(""), read("key.pem")), (None, None));
}

#[test]
fn a_file_of_nothing_but_mistakes_is_refused_quickly() {
    for text in [
        format!("camera = [{}]", "{},".repeat(80_000)),
        format!("[[camera]]\nname='a'\ninputs = [{}]", "0,".repeat(120_000)),
        format!("[[camera]]\nname='a'\ninputs = [{}]", (1..30_000).map(|n| format!("{n},")).collect::<String>()),
        "[[camera]]\nname='a'\ninputs=[1]\n".repeat(7_000),
        "\n=".repeat(120_000),
        format!("a = {}", "[".repeat(200_000)),
    ] {
        fuzzing::settings(text.as_bytes());
        assert!(Settings::parse("t", &text).is_err());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_settings_or_refused(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzzing::settings(&data);
    }

    #[test]
    fn a_damaged_example_is_settings_or_refused(at in 0_usize..4000, bytes in prop::collection::vec(any::<u8>(), 0..6)) {
        let mut text = uncommented_example().into_bytes();
        let at = at % text.len();
        let end = (at + bytes.len()).min(text.len());
        text.splice(at..end, bytes);
        fuzzing::settings(&text);
    }
}
