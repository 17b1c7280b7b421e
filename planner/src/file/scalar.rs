//! Durations, sizes and money as people write them.

/// Longest time a plan may ask for: a week. Beyond it a bound is none, and a slot is held for nothing.
pub(crate) const DURATION_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// Largest disk limit: 1 PB, so that sums of sizes never overflow.
pub(crate) const SIZE_BYTES_MAX: u64 = 1_000_000_000_000_000;

/// Largest amount of money: a million dollars, above which a cap is a slip of the decimal point.
pub(crate) const NANO_USD_MAX: u64 = 1_000_000 * NANO;

/// Billionths in a whole.
const NANO: u64 = 1_000_000_000;

/// Milliseconds of `500ms`, `30s`, `10m`, `1h`, `2d`.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 60 * 60 * 1000), ("d", 24 * 60 * 60 * 1000)];
    let ms = with_unit(text, &units).ok_or("must be a duration such as `30s`, `10m` or `1h`")?;
    match ms {
        0 => Err("must be longer than nothing".to_owned()),
        1..=DURATION_MS_MAX => Ok(ms),
        _ => Err("must not be longer than 7 days (`7d`)".to_owned()),
    }
}

/// Bytes of `20GB`, `500MB`, `64KiB`.
pub(super) fn size_bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("B", 1),
        ("KB", 1000),
        ("MB", 1000u64.pow(2)),
        ("GB", 1000u64.pow(3)),
        ("TB", 1000u64.pow(4)),
        ("KiB", 1024),
        ("MiB", 1024u64.pow(2)),
        ("GiB", 1024u64.pow(3)),
        ("TiB", 1024u64.pow(4)),
    ];
    let bytes = with_unit(text, &units).ok_or("must be a size such as `20GB` or `500MB`")?;
    match bytes {
        0 => Err("must be more than nothing".to_owned()),
        1..=SIZE_BYTES_MAX => Ok(bytes),
        _ => Err("must not be more than 1000TB".to_owned()),
    }
}

/// A whole number with a unit; saturates.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    if number.is_empty() {
        return None;
    }
    // A number too long for u64 is surely too large.
    Some(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(*factor))
}

/// Billionths of a dollar, exactly: the text is never a floating-point number.
pub(super) fn nano_usd(text: &str) -> Result<u64, String> {
    let shape = "must be an amount of US dollars such as `5` or `0.50`";
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(shape.to_owned());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("must not have more than 9 decimals".to_owned());
    }
    let nano: u64 = format!("{fraction:0<9}").parse().map_err(|_| shape.to_owned())?;
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    match whole.saturating_mul(NANO).saturating_add(nano) {
        nano @ 0..=NANO_USD_MAX => Ok(nano),
        _ => Err("must not be more than 1000000 US dollars".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration_ms(text).ok(), expected, "{text}");
        };
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("10m", Some(600_000));
        check("1h", Some(3_600_000));
        check("7d", Some(DURATION_MS_MAX));
        for bad in ["", "10", "m", "-1s", "1.5h", "8d", "10 years", "0s", "99999999999999999999h", "1H"] {
            check(bad, None);
        }
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(size_bytes(text).ok(), expected, "{text}");
        };
        check("20GB", Some(20_000_000_000));
        check("500MB", Some(500_000_000));
        check("1KiB", Some(1024));
        for bad in ["", "20", "GB", "-1GB", "0B", "1gb", "99999999999999999999TB"] {
            check(bad, None);
        }
    }

    #[test]
    fn money_is_exact() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(nano_usd(text).ok(), expected, "{text}");
        };
        check("5.00", Some(5_000_000_000));
        check("0.1", Some(100_000_000));
        check("0.000000001", Some(1));
        check("0.3000000000000", Some(300_000_000));
        check("1000000", Some(NANO_USD_MAX));
        for bad in ["", "-1", "1e308", "NaN", ".5", "5.", "0.0000000001", "1000000.01", "$5"] {
            check(bad, None);
        }
    }
}
