//! What the machine of the SD-card image is able to do: its radio and its card.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// Whether a time server has set the wall clock since the machine started, as systemd knows it
/// (systemd-timesyncd.service(8); systemd-time-wait-sync.service(8) tells the same of other programs).
pub fn clock_is_set() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

/// What the machine is called, without a domain.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_name = (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_name { name } else { "returnfeed".to_owned() }
}

/// What the radio is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Radio {
    /// There is none.
    Absent,
    /// It is there and neither an access point nor in a network.
    Idle,
    /// It is an access point, or in a network.
    InUse,
}

/// What the radio is doing now, as the kernel tells it (`operstate`, RFC 2863).
pub fn radio() -> Radio {
    radio_below(Path::new("/sys/class/net"))
}

fn radio_below(interfaces: &Path) -> Radio {
    match fs::read_to_string(interfaces.join("wlan0/operstate")) {
        Ok(state) if state.trim() == "up" => Radio::InUse,
        Ok(_) => Radio::Idle,
        Err(_) => Radio::Absent,
    }
}

/// Whether what is written below `directory` is gone at the next start: the initramfs puts memory in the place of a
/// data partition that cannot be mended.
pub fn keeps_nothing(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|stat| stat.filesystem_type() == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radio_is_in_use_once_the_kernel_says_that_it_is_up() {
        let interfaces = tempfile::tempdir().unwrap();
        assert_eq!(radio_below(interfaces.path()), Radio::Absent);
        fs::create_dir(interfaces.path().join("wlan0")).unwrap();
        for (state, radio) in [("down\n", Radio::Idle), ("dormant\n", Radio::Idle), ("up\n", Radio::InUse)] {
            fs::write(interfaces.path().join("wlan0/operstate"), state).unwrap();
            assert_eq!(radio_below(interfaces.path()), radio);
        }
    }

    #[test]
    fn memory_keeps_nothing_and_a_disk_does() {
        assert!(keeps_nothing(Path::new("/dev/shm")));
        assert!(!keeps_nothing(Path::new("/proc")) && !keeps_nothing(Path::new("/nowhere")));
    }
}
