//! Nano-dollars in words.

/// Nano-dollars in a dollar.
const NANO: u64 = 1_000_000_000;

/// Dollars with two digits, more only where a cent would hide them.
pub fn usd(nano: u64) -> String {
    let (whole, fraction) = (nano / NANO, nano % NANO);
    if fraction == 0 || nano >= NANO / 10 {
        let cents = (fraction + 5_000_000) / 10_000_000;
        return if cents == 100 { format!("${}.00", whole + 1) } else { format!("${whole}.{cents:02}") };
    }
    let text = format!("{fraction:09}");
    format!("${whole}.{}", text.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cent_hides_nothing() {
        for (nano, text) in [
            (5_000_000_000, "$5.00"),
            (1_999_999_999, "$2.00"),
            (1_230_000, "$0.00123"),
            (0, "$0.00"),
            (1, "$0.000000001"),
        ] {
            assert_eq!(super::usd(nano), text);
        }
    }
}
