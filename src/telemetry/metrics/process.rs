//! What the process takes from its machine, read from `/proc`; elsewhere than on Linux all stays 0.
//!
//! Names and meanings are those of every Prometheus client:
//! <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>

use std::fs;

use prometheus::{Counter, Gauge, IntGauge};

use super::family::{Scope, metrics};

metrics! {
    /// This process.
    struct ProcessMetrics {
        /// CPU time spent, of user and system together.
        cpu: Counter = "process_cpu_seconds_total";
        /// Memory that is resident.
        resident: IntGauge = "process_resident_memory_bytes";
        /// Memory that is mapped.
        virtual_memory: IntGauge = "process_virtual_memory_bytes";
        /// File descriptors that are open.
        open_fds: IntGauge = "process_open_fds";
        /// File descriptors that may be open.
        max_fds: IntGauge = "process_max_fds";
        /// When the process started, in seconds since 1970.
        started: Gauge = "process_start_time_seconds";
    }
}

/// The metrics of this process, read anew each time they are asked for.
#[derive(Debug)]
pub(super) struct Process {
    metrics: ProcessMetrics,
    clock_ticks: f64,
    page_bytes: i64,
    boot_seconds: f64,
}

impl Process {
    pub(super) fn new(scope: &Scope<'_>) -> Self {
        let auxiliary = fs::read("/proc/self/auxv").unwrap_or_default();
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            metrics: ProcessMetrics::register(scope),
            // What Linux has on every machine of today, should the vector not be readable.
            clock_ticks: f64::from(auxiliary_value(&auxiliary, AT_CLKTCK).unwrap_or(100)),
            page_bytes: i64::from(auxiliary_value(&auxiliary, AT_PAGESZ).unwrap_or(4096)),
            boot_seconds: boot
                .lines()
                .find_map(|line| line.strip_prefix("btime "))
                .and_then(|seconds| seconds.trim().parse().ok())
                .unwrap_or_default(),
        }
    }

    /// Reads all values; what cannot be read keeps its last one. One reader at a time.
    pub(super) fn refresh(&self) {
        let metrics = &self.metrics;
        if let Some(stat) = fs::read_to_string("/proc/self/stat")
            .ok()
            .as_deref()
            .and_then(Stat::parse)
        {
            let spent = stat.cpu_ticks / self.clock_ticks;
            metrics.cpu.inc_by((spent - metrics.cpu.get()).max(0.0));
            metrics.resident.set(stat.resident_pages * self.page_bytes);
            metrics.virtual_memory.set(stat.virtual_bytes);
            let since_boot = stat.start_ticks / self.clock_ticks;
            metrics.started.set(self.boot_seconds + since_boot);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            let open = i64::try_from(entries.count()).unwrap_or(i64::MAX);
            metrics.open_fds.set(open.saturating_sub(1));
        }
        if let Some(limit) = fs::read_to_string("/proc/self/limits")
            .ok()
            .as_deref()
            .and_then(open_files_limit)
        {
            metrics.max_fds.set(limit);
        }
    }
}

/// What is of interest in `/proc/self/stat`: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: i64,
    resident_pages: i64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The manual counts from 1, and the third field is the first one here.
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            cpu_ticks: field(14)?.parse::<f64>().ok()? + field(15)?.parse::<f64>().ok()?,
            start_ticks: field(22)?.parse().ok()?,
            virtual_bytes: field(23)?.parse().ok()?,
            resident_pages: field(24)?.parse().ok()?,
        })
    }
}

/// The soft limit of open files in `/proc/self/limits`; `unlimited` has no number.
fn open_files_limit(text: &str) -> Option<i64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes of a page: <https://man7.org/linux/man-pages/man3/getauxval.3.html>
const AT_PAGESZ: usize = 6;
/// Ticks of a second in `/proc`.
const AT_CLKTCK: usize = 17;

/// A value of the auxiliary vector: pairs of machine words, key and value.
fn auxiliary_value(vector: &[u8], key: usize) -> Option<u32> {
    const WORD: usize = size_of::<usize>();
    vector.chunks_exact(2 * WORD).find_map(|pair| {
        let (name, value) = pair.split_at(WORD);
        let name = usize::from_ne_bytes(name.try_into().ok()?);
        let value = usize::from_ne_bytes(value.try_into().ok()?);
        (name == key).then(|| u32::try_from(value).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_blanks_and_parentheses_moves_no_field() {
        let stat = "4242 (post) haste) S 1 2 3 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 777 123456 42 1844";
        assert_eq!(
            Stat::parse(stat),
            Some(Stat {
                cpu_ticks: 300.0,
                start_ticks: 777.0,
                virtual_bytes: 123_456,
                resident_pages: 42,
            })
        );
        assert_eq!(Stat::parse("4242 (x) S 1"), None);
    }

    #[test]
    fn the_soft_limit_of_open_files_is_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\n\
                      Max processes  1  2  processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(open_files_limit(limits), Some(1024));
        assert_eq!(
            open_files_limit("Max open files  unlimited  unlimited"),
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_measured() {
        let registry = prometheus::Registry::new();
        let process = Process::new(&Scope::new(&registry));
        process.refresh();
        let metrics = &process.metrics;
        assert!(metrics.resident.get() > 100_000);
        assert!(metrics.virtual_memory.get() >= metrics.resident.get());
        assert!(metrics.open_fds.get() >= 3 && metrics.open_fds.get() <= metrics.max_fds.get());
        let year_2020 = 1_577_836_800.0;
        assert!(metrics.started.get() > year_2020);
    }
}
