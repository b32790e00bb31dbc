use bytes::Bytes;
use proptest::prelude::*;
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::{Packet, marshal, unmarshal};
use rtc_rtcp::payload_feedbacks::full_intra_request::{FirEntry, FullIntraRequest};
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report;
use rtc_rtcp::sender_report;
use rtc_rtcp::source_description::SourceDescription;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::*;
use crate::clock::Clock;

fn read_all(compound: &[u8]) -> (Vec<Feedback>, bool) {
    let mut all = Vec::new();
    let ok = read(compound, |feedback| all.push(feedback)).is_ok();
    (all, ok)
}

#[test]
fn another_implementation_reads_our_reports() {
    for cname in ["", "a", "ab", "abc", "abcd", "0123456789abcdef"] {
        let report = SenderReport { ssrc: 7, ntp: 0x0102_0304_0506_0708, rtp: 9, packets: 10, octets: 11 };
        let mut compound = Vec::new();
        write_report(&mut compound, &report, cname);
        write_goodbye(&mut compound, 7, cname);
        let packets = unmarshal(&mut Bytes::from(compound)).unwrap();
        let sr = packets[0].as_any().downcast_ref::<sender_report::SenderReport>().unwrap();
        assert_eq!((sr.ssrc, sr.ntp_time, sr.rtp_time), (7, report.ntp, 9));
        assert_eq!((sr.packet_count, sr.octet_count), (10, 11));
        let sdes = packets[1].as_any().downcast_ref::<SourceDescription>().unwrap();
        assert_eq!(sdes.chunks[0].source, 7);
        assert_eq!(sdes.chunks[0].items[0].text, cname.as_bytes());
        assert!(packets[2].as_any().is::<ReceiverReport>() && packets[3].as_any().is::<SourceDescription>());
        let bye = packets[4].as_any().downcast_ref::<Goodbye>().unwrap();
        assert_eq!(bye.sources, [7]);
    }
}

#[test]
fn reads_what_another_implementation_says() {
    let packets: Vec<Box<dyn Packet>> = vec![
        Box::new(ReceiverReport {
            ssrc: 1,
            reports: vec![reception_report::ReceptionReport {
                ssrc: 7,
                fraction_lost: 64,
                last_sender_report: 0x1234_5678,
                delay: 0x8000,
                ..Default::default()
            }],
            ..Default::default()
        }),
        Box::new(TransportLayerNack {
            sender_ssrc: 1,
            media_ssrc: 7,
            nacks: vec![NackPair { packet_id: 100, lost_packets: 0b101 }, NackPair { packet_id: 200, lost_packets: 0 }],
        }),
        Box::new(PictureLossIndication { sender_ssrc: 1, media_ssrc: 7 }),
        Box::new(FullIntraRequest {
            sender_ssrc: 1,
            media_ssrc: 0,
            fir: vec![FirEntry { ssrc: 8, sequence_number: 1 }],
        }),
        Box::new(Goodbye { sources: vec![1], reason: Bytes::from_static(b"over") }),
    ];
    let (all, ok) = read_all(&marshal(&packets).unwrap());
    assert!(ok);
    assert_eq!(
        all,
        [
            Feedback::Report(ReceptionReport { ssrc: 7, fraction_lost: 64, last_report: 0x1234_5678, delay: 0x8000 }),
            Feedback::Nack { ssrc: 7, sequence: 100, following: 0b101 },
            Feedback::Nack { ssrc: 7, sequence: 200, following: 0 },
            Feedback::PictureLoss { ssrc: 7 },
            Feedback::PictureLoss { ssrc: 8 },
            Feedback::Bye,
        ]
    );
}

#[test]
fn the_round_trip_is_what_passed_beside_the_peers_delay() {
    let start = Clock::system().now();
    let clock = NtpClock::new(start, UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!(clock.at(start) >> 32, NTP_UNIX_OFFSET + 1);
    let sent = clock.at(start + Duration::from_millis(500));
    let report = ReceptionReport { ssrc: 7, fraction_lost: 0, last_report: (sent >> 16) as u32, delay: 65_536 / 10 };
    let round_trip = report.round_trip(clock.at(start + Duration::from_millis(640))).unwrap();
    assert!((39..=41).contains(&round_trip.as_millis()), "{round_trip:?}");
    let early = report.round_trip(clock.at(start + Duration::from_millis(550)));
    assert_eq!(early, Some(Duration::ZERO), "a peer whose clock runs fast");
    assert_eq!(ReceptionReport { last_report: 0, ..report }.round_trip(sent), None);
}

#[test]
fn lengths_that_lie_are_refused() {
    assert!(!read_all(&[]).1);
    assert!(!read_all(&[0x80, 201, 0, 1]).1);
    assert!(!read_all(&[0x40, 201, 0, 0]).1);
    assert!(!read_all(&[0x80, 201, 0, 0]).1, "no SSRC");
    assert!(!read_all(&[0x81, 206, 0, 1, 0, 0, 0, 0]).1, "no media SSRC");
    assert!(read_all(&[0x80, 204, 0, 0]).1, "unknown types are skipped");
    let lying = [0x9f, 201, 0, 1, 0, 0, 0, 0];
    assert_eq!(read_all(&lying), (vec![], true), "more blocks announced than there are");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&data);
    }
}
