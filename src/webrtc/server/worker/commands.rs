//! What handles ask of the worker: sessions are made, checked, restarted and removed.

use super::super::random::{random, random_text};
use super::super::{Command, CreateError, Created, PICTURE_WAIT, PatchError, Reply, Restarted, lock, log_name};
use super::{Deliveries, Entry, Stream, UdpSocket, Waiting, Worker, listen};
use crate::hub::{Rendition, Viewer};
use crate::webrtc::dtls::Dtls;
use crate::webrtc::fanout::Fanout;
use crate::webrtc::ice::{Agent, Credentials};
use crate::webrtc::sdp::{AnswerRequest, Fragment, Offer, OfferError, OfferedTrack, answer, restart_answer};
use crate::webrtc::sender::{Sender, Sources};
use crate::webrtc::session::{Ended, Parts, Session};
use crate::webrtc::srtp::Profile;

impl Worker {
    pub(super) fn command(&mut self, socket: &UdpSocket, command: Command, deliveries: &mut Deliveries) {
        // Answers may find nobody waiting for them any more.
        match command {
            Command::Create { offer, viewer, reply } => self.begin(offer, viewer, reply, deliveries),
            Command::Patch { id, etag, fragment, reply } => {
                let _ = reply.send(self.patch(&id, &etag, &fragment));
            }
            Command::Restart { id, fragment, reply } => {
                let _ = reply.send(self.restart(&id, &fragment));
            }
            Command::Remove { id, reply } => {
                let key = self.by_id.get(&id).copied();
                if let Some(key) = key {
                    self.end(socket, key, Ended::Removed);
                }
                let _ = reply.send(key.is_some());
            }
        }
    }

    fn begin(
        &mut self,
        offer: Box<Offer>,
        viewer: Viewer,
        reply: Reply<Result<Created, CreateError>>,
        deliveries: &mut Deliveries,
    ) {
        let name = viewer.stream().clone();
        let waiting: usize = self.streams.values().map(|stream| stream.waiting.len()).sum();
        if self.sessions.len() + waiting >= self.config.max_viewers {
            let _ = reply.send(Err(CreateError::Full));
            return;
        }
        if !self.streams.contains_key(&name) {
            let mut subscription = Box::new(viewer.subscribe(Rendition::Picture));
            self.next += 1;
            let generation = self.next;
            let mut fanout = Fanout::new(random());
            // The current GOP is there already: an answer need not wait, and a joiner may start with it.
            while let Some(delivery) = subscription.try_next() {
                fanout.handle(delivery);
            }
            let subscription = listen(deliveries, name.clone(), generation, subscription);
            let stream = Stream { generation, fanout, viewers: Vec::new(), waiting: Vec::new(), subscription };
            self.streams.insert(name.clone(), stream);
        }
        let until = self.clock.now() + PICTURE_WAIT;
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.waiting.push(Waiting { until, offer, viewer, reply });
        }
        self.answer_waiting(&name);
    }

    pub(super) fn create(&mut self, offer: &Offer, viewer: Viewer) -> Result<Created, CreateError> {
        let now = self.clock.now();
        let name = viewer.stream().clone();
        let id = viewer.session().to_owned();
        if self.by_id.contains_key(&id) {
            return Err(CreateError::Exists);
        }
        let profile = self.streams.get(&name).and_then(|stream| stream.fanout.profile());
        let profile = profile.ok_or(CreateError::NoPicture)?;
        let credentials = self.credentials();
        let (ssrc, rtx_ssrc) = (random() | 1, random() & !1);
        let cname = format!("{:08x}", random());
        let stream_id = format!("{}-video", name.name());
        let request = AnswerRequest {
            session_number: u64::from(random()),
            credentials: &credentials,
            fingerprint: self.identity.fingerprint(),
            candidates: &self.addresses,
            cname: &cname,
            video: (OfferedTrack { ssrc, rtx_ssrc, stream_id }, profile),
        };
        let answer = answer(offer, &request)?;
        let dtls = Dtls::new(self.identity.clone(), offer.fingerprints.clone(), &Profile::by_cpu());
        let dtls = dtls.map_err(|err| OfferError::Malformed(err.to_string()))?;
        let sources = Sources { ssrc, rtx_ssrc, first_sequence: random() as u16 >> 1 };
        let remote_ufrag = offer.credentials.ufrag.clone();
        let ufrag = credentials.ufrag.clone();
        let parts = Parts {
            agent: Agent::new(self.identity.crypto(), credentials, remote_ufrag),
            dtls,
            sender: Sender::new(sources, answer.video),
            cname,
        };
        self.next += 1;
        let key = self.next;
        tracing::info!(session = log_name(&id), stream = %name, "viewer asked for the picture");
        self.by_id.insert(id.clone(), key);
        self.by_ufrag.insert(ufrag.clone(), key);
        lock(&self.board.etags).insert(id.clone(), ufrag.clone());
        let session = Session::new(now, parts);
        let entry = Entry { id: id.clone(), viewer, session, ufrags: vec![ufrag.clone()], peers: Vec::new() };
        self.sessions.insert(key, entry);
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.viewers.push(key);
        }
        Ok(Created { session_id: id, etag: ufrag, answer_sdp: answer.sdp })
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
        Ok(Restarted { etag, sdpfrag: restart_answer(fragment, &credentials, &self.addresses) })
    }
}
