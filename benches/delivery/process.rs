//! What Linux tells of a process.

use std::fs;

/// Microseconds of CPU that a process has used, all threads together; in steps of 10 ms.
pub(crate) fn cpu_us(pid: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number") * 10_000)
        .sum()
}

/// Time of all processors since the machine began: idle, and in all.
pub(crate) fn machine() -> [u64; 2] {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|ticks| ticks.parse().expect("a number"))
        .collect();
    [ticks.iter().skip(3).take(2).sum(), ticks.iter().sum()]
}

/// Resident memory in MB.
pub(crate) fn rss_mb(pid: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .expect("VmRSS in kB");
    kib * 1024.0 / 1e6
}

/// Microseconds of CPU for each thread of a process, by name, the largest first.
pub(crate) fn threads(pid: &str) -> Vec<(String, u64)> {
    let mut by_name = std::collections::BTreeMap::<String, u64>::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    for task in tasks.flatten() {
        let id = task.file_name().to_string_lossy().into_owned();
        let Ok(name) = fs::read_to_string(task.path().join("comm")) else {
            continue;
        };
        *by_name.entry(name.trim().to_owned()).or_default() += cpu_us(&format!("{pid}/task/{id}"));
    }
    let mut threads: Vec<_> = by_name.into_iter().collect();
    threads.sort_by_key(|(_, us)| std::cmp::Reverse(*us));
    threads
}
