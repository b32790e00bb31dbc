//! What handles ask of the worker: sessions are made, checked, restarted and removed.

use std::sync::Arc;
use std::time::Instant;

use super::super::random::{random, random_text};
use super::super::shard::Key;
use super::super::{Asked, Command, CreateError, Created, PICTURE_WAIT, PatchError, Reply, Restarted, lock, log_name};
use super::room::{self, Origin, Taken};
use super::streams::{Agreed, Waiting};
use super::{Entry, Worker};
use crate::webrtc::dtls::Dtls;
use crate::webrtc::ice::{Agent, Credentials};
use crate::webrtc::sdp::{AnswerRequest, Candidates, Fragment, OfferError, OfferedSound, OfferedTrack};
use crate::webrtc::sdp::{answer, restart_answer};
use crate::webrtc::sending::{SoundSource, Sources};
use crate::webrtc::session::{Ended, Parts, Phase, Session};
use crate::webrtc::srtp::Profile;

impl Worker {
    pub(super) fn command(&mut self, command: Command) {
        // Answers may find nobody waiting for them any more.
        match command {
            Command::Create { asked, reply } => self.begin(asked, reply),
            Command::Patch { id, etag, fragment, reply } => {
                let _ = reply.send(self.patch(&id, &etag, &fragment));
            }
            Command::Restart { id, fragment, reply } => {
                let _ = reply.send(self.restart(&id, &fragment));
            }
            Command::Remove { id, reply } => {
                let key = self.by_id.get(&id).copied();
                if let Some(key) = key {
                    self.end(key, Ended::Removed);
                }
                let _ = reply.send(key.is_some());
            }
            Command::Feel(felt) => self.shards.feel(&felt),
        }
    }

    fn begin(&mut self, asked: Asked, reply: Reply<Result<Created, CreateError>>) {
        let name = asked.viewer.stream().clone();
        let waiting: Vec<_> =
            self.streams.values().flat_map(|stream| &stream.waiting).map(|waiting| waiting.origin).collect();
        let now = self.clock.now();
        let origin = Origin::of(&self.config.sources, asked.viewer.from());
        match room::find(&self.places(now), &waiting, self.config.max_viewers, origin) {
            Ok(gives_way) => gives_way.into_iter().for_each(|key| self.end(key, Ended::GaveWay)),
            Err(full) => {
                let _ = reply.send(Err(full));
                return;
            }
        }
        let until = now + PICTURE_WAIT;
        let stream = self.stream_of(&asked.viewer);
        stream.waiting.push(Waiting { until, origin, asked, reply });
        self.answer_waiting(&name);
    }

    fn places(&self, now: Instant) -> Vec<Taken> {
        let of = |(key, entry): (&Key, &Entry)| {
            let is_joining = matches!(entry.session.phase(), Phase::Checking | Phase::Handshaking);
            let joining = is_joining.then(|| now.saturating_duration_since(entry.asked));
            Taken { key: *key, origin: entry.origin, joining }
        };
        self.sessions.iter().map(of).collect()
    }

    pub(super) fn create(
        &mut self,
        Asked { offer, viewer, lip_sync }: Asked,
        origin: Option<Origin>,
    ) -> Result<Created, CreateError> {
        let now = self.clock.now();
        let name = viewer.stream().clone();
        let id = viewer.session().to_owned();
        if self.by_id.contains_key(&id) {
            return Err(CreateError::Exists);
        }
        let stream = self.streams.get(&name).and_then(|stream| Some((stream.key, stream.fanout.profile()?)));
        let (stream, profile) = stream.ok_or(CreateError::NoPicture)?;
        let credentials = self.credentials();
        self.look_at_addresses();
        let (ssrc, rtx_ssrc) = (random() | 1, random() & !1);
        // Another than both.
        let sound_ssrc = ssrc ^ 2;
        let cname = format!("{:08x}", random());
        let stream_id = format!("{}-video", name.name());
        let request = AnswerRequest {
            session_number: u64::from(random()),
            credentials: &credentials,
            fingerprint: self.identity.fingerprint(),
            candidates: self.candidates(),
            cname: &cname,
            video: (OfferedTrack { ssrc, rtx_ssrc, stream_id }, profile),
            sound: OfferedSound { ssrc: sound_ssrc, stream_id: format!("{}-sound", name.name()) },
            lip_sync: lip_sync.unwrap_or(self.config.lip_sync),
        };
        let answer = answer(&offer, &request)?;
        let dtls = Dtls::new(self.identity.clone(), offer.fingerprints.clone(), &Profile::by_cpu());
        let dtls = dtls.map_err(|err| OfferError::Malformed(err.to_string()))?;
        let first_sequence = || random() as u16 >> 1;
        let sound = |negotiated| (SoundSource { ssrc: sound_ssrc, first_sequence: first_sequence() }, negotiated);
        let agreed = Agreed {
            video: Sources { ssrc, rtx_ssrc, first_sequence: first_sequence() },
            negotiated: answer.video,
            sound: answer.sound.map(sound),
        };
        let remote_ufrag = offer.credentials.ufrag.clone();
        let ufrag = credentials.ufrag.clone();
        let agent = Agent::new(self.identity.crypto(), credentials, remote_ufrag);
        let parts = Parts { agent, dtls, ssrc, sound_ssrc: agreed.sound.map(|(source, _)| source.ssrc), cname };
        self.next += 1;
        let key = self.next;
        tracing::info!(session = log_name(&id), stream = %name, "viewer asked for the picture");
        self.by_id.insert(id.clone(), key);
        self.by_ufrag.insert(ufrag.clone(), key);
        lock(&self.board.etags).insert(id.clone(), ufrag.clone());
        let session = Session::new(now, parts);
        let entry = Entry {
            id: id.clone(),
            viewer,
            origin,
            stream,
            session,
            asked: now,
            agreed: Some(agreed),
            place: None,
            path: None,
            sent: Arc::default(),
            ufrags: vec![ufrag.clone()],
            paths: Vec::new(),
        };
        self.sessions.insert(key, entry);
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.viewers += 1;
        }
        Ok(Created { session_id: id, etag: ufrag, answer_sdp: answer.sdp })
    }

    fn candidates(&self) -> Candidates<'_> {
        Candidates { addresses: &self.addresses, over_tcp: self.config.over_tcp }
    }

    fn credentials(&self) -> Credentials {
        loop {
            let ufrag = random_text::<8>();
            if !self.by_ufrag.contains_key(&ufrag) {
                return Credentials { ufrag, password: random_text::<24>() };
            }
        }
    }

    fn patch(&self, id: &str, etag: &str, fragment: &Fragment) -> Result<(), PatchError> {
        let entry = self.by_id.get(id).and_then(|key| self.sessions.get(key)).ok_or(PatchError::NotFound)?;
        let agent = entry.session.agent();
        if agent.local().ufrag != etag {
            return Err(PatchError::Stale);
        }
        if agent.remote_ufrag() != fragment.credentials.ufrag {
            return Err(PatchError::OtherCredentials);
        }
        Ok(())
    }

    fn restart(&mut self, id: &str, fragment: &Fragment) -> Result<Restarted, PatchError> {
        let key = *self.by_id.get(id).ok_or(PatchError::NotFound)?;
        self.look_at_addresses();
        let credentials = self.credentials();
        let entry = self.sessions.get_mut(&key).ok_or(PatchError::NotFound)?;
        entry.session.agent_mut().restart(credentials.clone(), fragment.credentials.ufrag.clone());
        let etag = credentials.ufrag.clone();
        self.by_ufrag.insert(etag.clone(), key);
        entry.ufrags.push(etag.clone());
        // The names before the last ones are not answered any more.
        while entry.ufrags.len() > 2 {
            self.by_ufrag.remove(&entry.ufrags.remove(0));
        }
        lock(&self.board.etags).insert(id.to_owned(), etag.clone());
        Ok(Restarted { etag, sdpfrag: restart_answer(fragment, &credentials, self.candidates()) })
    }
}
