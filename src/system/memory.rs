//! How much memory the program holds.

use std::fs;
use std::path::Path;

use rustix::param::page_size;

/// What the program holds of the machine's memory now, in bytes, as the kernel tells it (`proc_pid_statm(5)`, resident);
/// `None` where it does not. What sockets hold in the kernel is not in it.
pub fn memory_used() -> Option<u64> {
    resident(Path::new("/proc/self/statm"), page_size())
}

fn resident(statm: &Path, page_size: usize) -> Option<u64> {
    let text = fs::read_to_string(statm).ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_in_pages() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "63500 4608 3000 1200 0 40000 0\n").unwrap();
        assert_eq!(resident(file.path(), 16_384), Some(4608 * 16_384));
        fs::write(file.path(), "63500").unwrap();
        assert_eq!(resident(file.path(), 4_096), None);
        assert_eq!(resident(Path::new("/nowhere"), 4_096), None);
    }

    #[test]
    fn memory_that_is_taken_is_seen() {
        let before = memory_used().unwrap();
        let taken = vec![1_u8; 64 << 20];
        let after = memory_used().unwrap();
        assert!(taken.iter().all(|byte| *byte == 1) && after >= before + (32 << 20), "{before} {after}");
    }
}
