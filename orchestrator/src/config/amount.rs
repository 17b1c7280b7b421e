//! Counts and sizes as people type them.

/// Most workers or checks at once: far above what one machine can run, low enough that a typing mistake is
/// one and not ten thousand processes.
pub(crate) const PARALLEL_MAX: u32 = 256;

/// Reads a number of workers or checks.
pub(crate) fn parse_parallel(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(count) if (1..=PARALLEL_MAX).contains(&count) => Ok(count),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a number from 1 to {PARALLEL_MAX}")),
    }
}

/// Reads a number from 1 to a bound.
pub(crate) fn parse_within(text: &str, max: u32) -> Result<u32, String> {
    let number = text.trim().parse::<u32>().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a number from 1 to {max}"))
}

/// Reads `250000`, `250k`, `2M`.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    scaled(text, &[("k", 1_000), ("K", 1_000), ("M", 1_000_000), ("", 1)])
        .ok_or_else(|| format!("`{text}` is not a count like 250000, 250k or 2M"))
}

/// Reads `20GB`, `500MB`, `1TB`, `4096`; decimal units, as disks are sold.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
        ("KB", 1_000),
        ("B", 1),
        ("", 1),
    ];
    scaled(text, &units).ok_or_else(|| format!("`{text}` is not a size like 20GB"))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim(), *factor)))?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if digits { number.parse::<u64>().ok()?.checked_mul(factor) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        for (text, bytes) in [("20GB", 20_000_000_000), ("1 TB", 1_000_000_000_000), ("4096", 4096), ("7B", 7)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_count("250k"), Ok(250_000));
        for bad in ["", "GB", "1.5GB", "-1", "x"] {
            assert!(parse_bytes(bad).is_err() && parse_count(bad).is_err(), "{bad}");
        }
    }
}
