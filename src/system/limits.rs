//! How much of the machine the program may use.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes as many open files as the system allows: each viewer's page holds one, and the usual
/// allowance of 1024 is meant for programs that use `select`.
pub fn raise_open_files() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(err) = raised {
        tracing::warn!(%err, "the number of open files stays as it is");
    }
}
