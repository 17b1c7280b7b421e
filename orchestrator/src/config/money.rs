//! Amounts as people type them: dollars to nano-dollars, exactly, and back.

/// Nano-dollars in a dollar.
const NANO: u64 = 1_000_000_000;

/// Reads `5`, `5.00`, `$0.25`; exact to a nano-dollar, never a float.
pub(crate) fn parse_usd(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not an amount in dollars like 5.00");
    let digits = text.trim().trim_start_matches('$');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() || digits == "." || !numeric(whole) || !numeric(fraction) || fraction.len() > 9 {
        return Err(bad());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    whole.checked_mul(NANO).and_then(|nano| nano.checked_add(fraction)).ok_or_else(bad)
}

/// Nano-dollars for people: two digits, more only where a cent would hide them.
pub(crate) fn format_usd(nano: u64) -> String {
    let whole = nano / NANO;
    let fraction = nano % NANO;
    if fraction == 0 || nano >= NANO / 10 {
        let cents = (fraction + 5_000_000) / 10_000_000;
        return if cents == 100 { format!("${}.00", whole + 1) } else { format!("${whole}.{cents:02}") };
    }
    let text = format!("{fraction:09}");
    format!("${whole}.{}", text.trim_end_matches('0'))
}

/// Nano-dollars as a JSON number of dollars; `None` stays `null`, never 0.
pub(crate) fn json_usd(nano: Option<u64>) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a view for readers; sums are made in integers")]
    nano.map(|nano| nano as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_both_ways() {
        for (text, nano) in
            [("5", 5 * NANO), ("5.00", 5 * NANO), ("$0.25", NANO / 4), (".5", NANO / 2), ("0.000000001", 1)]
        {
            assert_eq!(parse_usd(text), Ok(nano), "{text}");
        }
        for bad in ["", ".", "-1", "1e3", "1.0000000001", "five", "99999999999999999999"] {
            assert!(parse_usd(bad).is_err(), "{bad}");
        }
        assert_eq!(format_usd(5 * NANO), "$5.00");
        assert_eq!(format_usd(1_999_999_999), "$2.00");
        assert_eq!(format_usd(1_230_000), "$0.00123");
        assert_eq!(format_usd(0), "$0.00");
        assert_eq!(json_usd(None), None);
    }
}
