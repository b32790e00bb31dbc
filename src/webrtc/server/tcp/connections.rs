//! All connections: found by path, and no more of them than may be.
//!
//! A connection costs a stranger one packet more than it costs the box. So there are few that have proven nothing, and
//! when there is no room for one more the one that came first gives way: a viewer proves its own within two round trips.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use super::connection::Connection;
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
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    all: HashMap<Path, Entry>,
    /// How many there are of each origin.
    of: HashMap<Origin, usize>,
    /// Those that have proven nothing, in order.
    unproven: VecDeque<Path>,
}

struct Entry {
    connection: Arc<Connection>,
    /// As it was counted when it came.
    from: Option<Origin>,
}

impl Connections {
    pub(super) fn new(most: usize, sources: Sources) -> Self {
        Self { most, sources, table: Mutex::default() }
    }

    /// Takes a connection in, for which another may have to go; false when there is no room.
    pub(super) fn enter(&self, connection: &Arc<Connection>) -> bool {
        let path = connection.path();
        let mut table = lock(&self.table);
        // The one before on the same addresses is over, or there could not be another.
        table.close(&path);
        let from = Origin::of(&self.sources, Some(path.peer.ip()));
        let own = table.unproven.iter().filter(|other| from.is_some() && table.origin(other) == from);
        let (first, count) = (own.clone().next().copied(), own.count());
        if count >= MOST_UNPROVEN_OF_ONE
            || from.and_then(|from| table.of.get(&from)).is_some_and(|count| *count >= self.most_of_one())
        {
            let Some(first) = first else { return false };
            table.close(&first);
        }
        if table.unproven.len() >= MOST_UNPROVEN || table.all.len() >= self.most {
            let Some(first) = table.unproven.front().copied() else { return false };
            table.close(&first);
        }
        table.all.insert(path, Entry { connection: connection.clone(), from });
        table.unproven.push_back(path);
        if let Some(from) = from {
            *table.of.entry(from).or_default() += 1;
        }
        true
    }

    /// Half of all, so that one address cannot have them all.
    fn most_of_one(&self) -> usize {
        (self.most / 2).max(MOST_UNPROVEN_OF_ONE)
    }

    /// A path's viewer has proven to know a session's password.
    pub(in crate::webrtc::server) fn prove(&self, path: &Path) {
        let mut table = lock(&self.table);
        let Some(entry) = table.all.get(path).filter(|entry| !entry.connection.is_proven()) else { return };
        entry.connection.prove();
        table.unproven.retain(|unproven| unproven != path);
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
        paths.iter().for_each(|path| table.close(path));
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
    fn origin(&self, path: &Path) -> Option<Origin> {
        self.all.get(path)?.from
    }

    fn close(&mut self, path: &Path) {
        let Some(Entry { connection, from }) = self.all.remove(path) else { return };
        connection.close();
        self.unproven.retain(|unproven| unproven != path);
        if let Some(from) = from
            && let Some(count) = self.of.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&from);
            }
        }
    }
}
