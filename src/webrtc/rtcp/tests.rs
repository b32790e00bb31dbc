use bytes::Bytes;
use proptest::prelude::*;
use rtc_rtcp::extended_report::{
    DLRRReport, DLRRReportBlock, ExtendedReport, ReceiverReferenceTimeReportBlock, UnknownReportBlock,
};
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
    let picture = SenderReport { ssrc: 7, ntp: 0x0102_0304_0506_0708, rtp: 9, packets: 10, octets: 11 };
    let sound = SenderReport { ssrc: 8, rtp: 12, packets: 13, octets: 14, ..picture };
    for cname in ["", "a", "ab", "abc", "abcd", "0123456789abcdef"] {
        for reports in [&[picture][..], &[picture, sound]] {
            let ssrcs: Vec<_> = reports.iter().map(|report| report.ssrc).collect();
            let mut compound = Vec::new();
            write_reports(&mut compound, reports, cname);
            write_goodbye(&mut compound, &ssrcs, cname);
            let packets = unmarshal(&mut Bytes::from(compound)).unwrap();
            let (senders, rest) = packets.split_at(reports.len());
            for (read, report) in senders.iter().zip(reports) {
                let sr = read.as_any().downcast_ref::<sender_report::SenderReport>().unwrap();
                assert_eq!((sr.ssrc, sr.ntp_time, sr.rtp_time), (report.ssrc, report.ntp, report.rtp));
                assert_eq!((sr.packet_count, sr.octet_count), (report.packets, report.octets));
            }
            let [description, receiver, again, goodbye] = rest else { panic!("{} packets", packets.len()) };
            for description in [description, again] {
                let sdes = description.as_any().downcast_ref::<SourceDescription>().unwrap();
                assert_eq!(sdes.chunks.iter().map(|chunk| chunk.source).collect::<Vec<_>>(), ssrcs);
                assert!(sdes.chunks.iter().all(|chunk| chunk.items[0].text == cname.as_bytes()));
            }
            assert!(receiver.as_any().is::<ReceiverReport>());
            let bye = goodbye.as_any().downcast_ref::<Goodbye>().unwrap();
            assert_eq!(bye.sources, ssrcs);
        }
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
                jitter: 450,
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
            Feedback::Report(ReceptionReport {
                ssrc: 7,
                fraction_lost: 64,
                jitter: 450,
                last_report: 0x1234_5678,
                delay: 0x8000
            }),
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
    let last_report = (sent >> 16) as u32;
    let report = ReceptionReport { ssrc: 7, fraction_lost: 0, jitter: 450, last_report, delay: 65_536 / 10 };
    let round_trip = report.round_trip(clock.at(start + Duration::from_millis(640))).unwrap();
    assert!((39..=41).contains(&round_trip.as_millis()), "{round_trip:?}");
    let early = report.round_trip(clock.at(start + Duration::from_millis(550)));
    assert_eq!(early, Some(Duration::ZERO), "a peer whose clock runs fast");
    assert_eq!(ReceptionReport { last_report: 0, ..report }.round_trip(sent), None);
    assert_eq!(report.jitter(90_000), Duration::from_millis(5));
}

#[test]
fn a_receivers_clock_is_read_and_another_implementation_reads_the_answer() {
    let told = ExtendedReport {
        sender_ssrc: 5,
        reports: vec![
            Box::new(DLRRReportBlock { reports: vec![DLRRReport { ssrc: 7, last_rr: 1, dlrr: 2 }] }),
            Box::new(UnknownReportBlock { bytes: Bytes::from_static(&[1, 2, 3, 4]) }),
            Box::new(ReceiverReferenceTimeReportBlock { ntp_timestamp: 0x0102_0304_0506_0708 }),
        ],
    };
    let packets: Vec<Box<dyn Packet>> =
        vec![Box::new(ReceiverReport { ssrc: 5, ..Default::default() }), Box::new(told)];
    let reference = Feedback::ReferenceTime { ssrc: 5, reference: 0x0304_0506 };
    assert_eq!(read_all(&marshal(&packets).unwrap()), (vec![reference], true));

    let answer = |ssrc| ReferenceAnswer { ssrc, reference: 0x0304_0506, delay: Duration::from_millis(500) };
    let mut compound = Vec::new();
    write_reference_answers(&mut compound, 7, &[answer(5), answer(6)], "box");
    assert!(read_all(&compound).1);
    let packets = unmarshal(&mut Bytes::from(compound)).unwrap();
    let [report, description, extended] = &packets[..] else { panic!("{} packets", packets.len()) };
    assert!(report.as_any().is::<ReceiverReport>() && description.as_any().is::<SourceDescription>());
    let extended = extended.as_any().downcast_ref::<ExtendedReport>().unwrap();
    let block = extended.reports[0].as_any().downcast_ref::<DLRRReportBlock>().unwrap();
    let expected = |ssrc| DLRRReport { ssrc, last_rr: 0x0304_0506, dlrr: 0x8000 };
    assert_eq!((extended.sender_ssrc, &block.reports), (7, &vec![expected(5), expected(6)]));
}

#[test]
fn lengths_that_lie_are_refused() {
    assert!(!read_all(&[]).1);
    assert!(!read_all(&[0x80, 201, 0, 1]).1);
    assert!(!read_all(&[0x40, 201, 0, 0]).1);
    assert!(!read_all(&[0x80, 201, 0, 0]).1, "no SSRC");
    assert!(!read_all(&[0x81, 206, 0, 1, 0, 0, 0, 0]).1, "no media SSRC");
    assert!(read_all(&[0x80, 204, 0, 0]).1, "unknown types are skipped");
    assert!(!read_all(&[0x80, 207, 0, 0]).1, "no SSRC");
    assert!(!read_all(&[0x80, 207, 0, 2, 0, 0, 0, 5, 4, 0, 0, 2]).1, "a clock that is not there");
    let short = [0x80, 207, 0, 3, 0, 0, 0, 5, 4, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(read_all(&short), (vec![], true), "a clock of another length");
    let lying = [0x9f, 201, 0, 1, 0, 0, 0, 0];
    assert_eq!(read_all(&lying), (vec![], true), "more blocks announced than there are");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&data);
    }

    #[test]
    fn arbitrary_extended_reports_never_panic(blocks in prop::collection::vec((0u8..8, 0u8..6, any::<[u8; 8]>()), 0..20)) {
        let mut packet = vec![0x80, 207, 0, 0, 0, 0, 0, 5];
        for (kind, words, content) in &blocks {
            packet.extend_from_slice(&[*kind, 0, 0, *words]);
            packet.extend_from_slice(content);
        }
        let words = (packet.len() / 4 - 1) as u16;
        packet[2..4].copy_from_slice(&words.to_be_bytes());
        let (all, _) = read_all(&packet);
        prop_assert!(all.len() <= blocks.len());
    }
}
