//! The memory of this process, from Linux's /proc.

pub const MIB: u64 = 1 << 20;

/// Whether the peak can be reset here.
pub fn can_be_measured() -> bool {
    reset_peak()
}

/// What `work` needs beyond what was in use before, at its peak.
pub fn peak_of<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<u64, E> {
    reset_peak();
    let before = resident();
    work()?;
    Ok(field("VmHWM:").saturating_sub(before))
}

/// What is in use now.
pub fn resident() -> u64 {
    field("VmRSS:")
}

/// Resets the peak to what is in use now.
fn reset_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB");
    kib << 10
}
