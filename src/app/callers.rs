//! The sources the box calls out to: started, stopped and changed with the settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::media::StreamName;
use crate::problems::Problems;
use crate::settings::{KeyLength, Passphrase, Settings, Source};
use crate::srt::{CallAddress, Caller, Sinks};

/// What a call depends on: when it changes, the box calls anew.
#[derive(Clone, PartialEq)]
struct Call {
    source: Source,
    passphrase: Option<Passphrase>,
    latency: Duration,
}

/// A call at work.
struct Running {
    call: Call,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Every source that is being called.
pub(super) struct Callers {
    sinks: Arc<dyn Sinks>,
    problems: Problems,
    clock: Clock,
    tasks: TaskTracker,
    stopping: CancellationToken,
    calling: BTreeMap<StreamName, Running>,
    /// Calls that were told to end: the next one of the same stream waits for it.
    leaving: BTreeMap<StreamName, JoinHandle<()>>,
}

impl Callers {
    pub(super) fn new(
        sinks: Arc<dyn Sinks>,
        problems: Problems,
        clock: Clock,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Self {
        Self { sinks, problems, clock, tasks, stopping, calling: BTreeMap::new(), leaving: BTreeMap::new() }
    }

    /// Calls what the settings name, and nothing else; calls that stay the same go on.
    pub(super) fn apply(&mut self, settings: &Settings) {
        let named = settings.streams.iter().filter_map(|stream| {
            let source = stream.source.clone()?;
            let call = Call { source, passphrase: stream.passphrase.clone(), latency: settings.srt.latency };
            Some((stream.name.clone(), call))
        });
        let wanted: BTreeMap<StreamName, Call> = named.collect();
        self.leaving.retain(|_, task| !task.is_finished());
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.calling)
            .into_iter()
            .partition(|(name, running)| wanted.get(name) == Some(&running.call));
        self.calling = stay;
        for (name, running) in go {
            running.stop.cancel();
            self.leaving.insert(name, running.task);
        }
        for (name, call) in wanted {
            if !self.calling.contains_key(&name) {
                let running = self.call(name.clone(), call);
                self.calling.insert(name, running);
            }
        }
    }

    fn call(&mut self, stream: StreamName, call: Call) -> Running {
        let Source { host, port, stream_id, latency, key_length, .. } = call.source.clone();
        let address = CallAddress {
            host,
            port,
            stream_id,
            passphrase: call.passphrase.as_ref().map(|passphrase| passphrase.expose().to_owned()),
            key_bytes: key_length.map_or(16, KeyLength::bytes),
            latency,
        };
        let before = self.leaving.remove(&stream);
        let caller = Caller {
            stream,
            address,
            latency: call.latency,
            sinks: self.sinks.clone(),
            problems: self.problems.clone(),
            clock: self.clock.clone(),
        };
        let stop = self.stopping.child_token();
        let until = stop.clone();
        let task = self.tasks.spawn(async move {
            // The one before clears its problem and leaves the stream first.
            if let Some(before) = before {
                let _ = before.await;
            }
            caller.run(until).await;
        });
        Running { call, stop, task }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{PublishError, PublishRequest};
    use crate::srt::Sink;

    struct Nowhere;

    impl Sinks for Nowhere {
        fn open(&self, request: PublishRequest) -> Result<Box<dyn Sink>, PublishError> {
            Err(PublishError::Busy { stream: request.stream.short(), by: request.from })
        }
    }

    /// Calls of `cam1` at these ports of this machine.
    fn settings(ports: &[u16]) -> Settings {
        let stream = |port: &u16| format!("[[stream]]\nname = \"cam1\"\nsource = \"srt://127.0.0.1:{port}\"\n");
        Settings::parse("test.toml", &ports.iter().map(stream).collect::<String>()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_changed_or_removed_takes_its_problem_with_it() {
        let free = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let (first, second) = (free(), free());
        let [one, other] = [&first, &second].map(|socket| socket.local_addr().unwrap().port());
        drop((first, second));
        let (clock, time) = Clock::manual();
        let (problems, tasks) = (Problems::default(), TaskTracker::new());
        let mut callers =
            Callers::new(Arc::new(Nowhere), problems.clone(), clock, tasks.clone(), CancellationToken::new());
        let texts = || problems.list().into_iter().map(|problem| problem.text).collect::<Vec<_>>();
        let a_while = async || {
            for _ in 0..20 {
                time.advance(Duration::from_secs(1));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };

        callers.apply(&settings(&[one]));
        a_while().await;
        let before = texts();
        assert_eq!(before.len(), 1);

        // Removed, and put back elsewhere before the old call has ended.
        callers.apply(&settings(&[]));
        callers.apply(&settings(&[other]));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!texts().contains(&before[0]), "{:?}", texts());
        a_while().await;
        assert_eq!(texts().len(), 1);

        callers.apply(&settings(&[]));
        tasks.close();
        tasks.wait().await;
        assert_eq!(texts(), [] as [&str; 0]);
    }
}
