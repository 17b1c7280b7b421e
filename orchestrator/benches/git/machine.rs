//! What the numbers were measured on.

use std::fs;
use std::path::Path;

use crate::place::Place;

/// One line: processors, memory, kernel, git, file systems.
pub(crate) fn describe(place: &Place) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let gigabytes = kilobytes.unwrap_or(0_u64) / (1 << 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let git = place.version().unwrap_or_else(|e| format!("no git ({e})"));
    format!(
        "machine: {cores} cores, {gigabytes} GiB, Linux {}, {git}, {}; load when started {}",
        kernel.trim(),
        filesystem(place.disk()),
        load.split_whitespace().next().unwrap_or("unknown"),
    )
}

/// The type of the file system that a folder lies on, as the kernel names it.
pub(crate) fn filesystem(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut best: (usize, &str) = (0, "unknown");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (words.next(), words.next()) else { continue };
        // Of two mounts on one point the later one is seen.
        if folder.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), kind);
        }
    }
    best.1.to_owned()
}
