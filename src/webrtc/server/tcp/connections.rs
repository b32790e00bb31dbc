//! All connections: found by path, and no more of them than may be.
//!
//! A connection costs a stranger one packet more than it costs the box. So there are few that have proven nothing, and
//! when there is no room for one more the one that came first gives way: a viewer proves its own within two round trips.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::connection::{Connection, Waiting};
use crate::access::Sources;
use crate::webrtc::ice::Path;
use crate::webrtc::sending::Batch;
use crate::webrtc::server::lock;
use crate::webrtc::server::socket::Sent;
use crate::webrtc::server::worker::Origin;

/// Connections that have proven nothing, in all and of one address: a crew behind one router that comes back at once.
const MOST_UNPROVEN: usize = 512;
const MOST_UNPROVEN_OF_ONE: usize = 128;

pub(in crate::webrtc::server) struct Connections {
    most: usize,
    sources: Sources,
    pub(super) waiting: Waiting,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    all: HashMap<Path, Entry>,
    /// Those of each origin.
    of: HashMap<Origin, Own>,
    /// Those that have proven nothing, by when they came.
    unproven: BTreeMap<u64, Path>,
    next: u64,
}

struct Entry {
    connection: Arc<Connection>,
    /// As it was counted when it came.
    from: Option<Origin>,
    /// Later ones have greater ones.
    nth: u64,
}

/// Connections of one origin.
#[derive(Default)]
struct Own {
    all: usize,
    unproven: BTreeMap<u64, Path>,
}

/// A connection has been taken in.
pub(super) struct Entered {
    /// The one before on the same addresses had proven its path: nobody else tells that it is over.
    pub(super) replaces_proven: bool,
}

impl Connections {
    pub(super) fn new(most: usize, sources: Sources) -> Self {
        Self { most, sources, waiting: Waiting::default(), table: Mutex::default() }
    }

    /// Takes a connection in, for which another may have to go; `None` when there is no room, which there always is for one
    /// that replaces another.
    pub(super) fn enter(&self, connection: &Arc<Connection>) -> Option<Entered> {
        let path = connection.path();
        // Before the lock, which those who send wait for: it may have to look at the box's networks.
        let from = Origin::of(&self.sources, Some(path.peer.ip()));
        let mut table = lock(&self.table);
        // The one before on the same addresses is over, or there could not be another.
        let before = table.close(&path);
        let has_room = self.make_room(&mut table, from);
        if has_room {
            table.insert(path, connection.clone(), from);
        }
        let replaces_proven = before.is_some_and(|before| before.is_proven());
        has_room.then_some(Entered { replaces_proven })
    }

    fn make_room(&self, table: &mut Table, from: Option<Origin>) -> bool {
        if let Some(own) = from.and_then(|from| table.of.get(&from))
            && (own.unproven.len() >= MOST_UNPROVEN_OF_ONE || own.all >= self.most / 2)
        {
            let Some(first) = own.unproven.values().next().copied() else { return false };
            table.close(&first);
        }
        if table.unproven.len() >= MOST_UNPROVEN || table.all.len() >= self.most {
            let Some(first) = table.unproven.values().next().copied() else { return false };
            table.close(&first);
        }
        true
    }

    /// A path's viewer has proven to know a session's password; false when its connection is not there any more.
    pub(in crate::webrtc::server) fn prove(&self, path: &Path) -> bool {
        let mut table = lock(&self.table);
        let Some(entry) = table.all.get(path) else { return false };
        entry.connection.prove();
        let (nth, from) = (entry.nth, entry.from);
        table.proves(nth, from);
        true
    }

    /// Closes a path's connection, for its session is over.
    pub(in crate::webrtc::server) fn close(&self, path: &Path) {
        lock(&self.table).close(path);
    }

    /// Closes a path's connection, unless it has proven something before.
    pub(in crate::webrtc::server) fn close_unproven(&self, path: &Path) {
        let mut table = lock(&self.table);
        if table.all.get(path).is_some_and(|entry| !entry.connection.is_proven()) {
            table.close(path);
        }
    }

    pub(super) fn close_all(&self) {
        let mut table = lock(&self.table);
        let paths: Vec<Path> = table.all.keys().copied().collect();
        paths.iter().for_each(|path| _ = table.close(path));
    }

    /// A connection has ended; false when it was let go before.
    pub(super) fn leave(&self, connection: &Arc<Connection>) -> bool {
        let mut table = lock(&self.table);
        let is_there =
            table.all.get(&connection.path()).is_some_and(|other| Arc::ptr_eq(&other.connection, connection));
        if is_there {
            table.close(&connection.path());
        }
        is_there
    }

    pub(super) fn get(&self, path: &Path) -> Option<Arc<Connection>> {
        lock(&self.table).all.get(path).map(|entry| entry.connection.clone())
    }

    /// Sends one datagram along a path, if its connection is there still.
    pub(in crate::webrtc::server) fn send_one(&self, path: &Path, datagram: &[u8]) {
        if let Some(connection) = self.get(path) {
            connection.send_one(datagram);
        }
    }

    /// Sends a batch along a path. Where the connection has ended it is lost, as on a UDP path that leads nowhere.
    pub(in crate::webrtc::server) fn send(&self, path: &Path, batch: &Batch) -> Sent {
        self.get(path).map_or(Sent::Gone, |connection| connection.send(batch))
    }

    #[cfg(test)]
    pub(in crate::webrtc::server) fn len(&self) -> usize {
        lock(&self.table).all.len()
    }
}

impl Table {
    fn insert(&mut self, path: Path, connection: Arc<Connection>, from: Option<Origin>) {
        let nth = self.next;
        self.next += 1;
        self.unproven.insert(nth, path);
        if let Some(from) = from {
            let own = self.of.entry(from).or_default();
            own.all += 1;
            own.unproven.insert(nth, path);
        }
        self.all.insert(path, Entry { connection, from, nth });
    }

    /// A connection counts no more among those that have proven nothing.
    fn proves(&mut self, nth: u64, from: Option<Origin>) {
        self.unproven.remove(&nth);
        if let Some(own) = from.and_then(|from| self.of.get_mut(&from)) {
            own.unproven.remove(&nth);
        }
    }

    /// Closes a path's connection, and gives it.
    fn close(&mut self, path: &Path) -> Option<Arc<Connection>> {
        let Entry { connection, from, nth } = self.all.remove(path)?;
        connection.close();
        self.proves(nth, from);
        if let Some(from) = from
            && let Some(own) = self.of.get_mut(&from)
        {
            own.all -= 1;
            if own.all == 0 {
                self.of.remove(&from);
            }
        }
        Some(connection)
    }
}
