//! Durations as Go writes them: `1h2m3.5s`, `300ms`, `-1.5h`.
//!
//! Consul's configuration, check definitions and query strings all use this
//! notation, and its error texts come straight from Go's `time.ParseDuration`,
//! so both directions are exact: range (a signed 64-bit count of nanoseconds),
//! rounding (the fraction is cut off, not rounded) and texts.
//! Source: the documentation of Go's package `time`.

/// One microsecond in nanoseconds.
pub const MICROSECOND: i64 = 1_000;
/// One millisecond in nanoseconds.
pub const MILLISECOND: i64 = 1_000 * MICROSECOND;
/// One second in nanoseconds.
pub const SECOND: i64 = 1_000 * MILLISECOND;
/// One minute in nanoseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in nanoseconds.
pub const HOUR: i64 = 60 * MINUTE;

/// Why a text is not a duration. Displays as Go's error does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// Not of the form, or outside the range of 64-bit nanoseconds.
    Invalid(String),
    /// A number without a unit behind it.
    MissingUnit(String),
    /// A unit that is none of `ns us µs ms s m h`: the unit, then the whole text.
    UnknownUnit(String, String),
    /// Less than zero where only a length makes sense.
    Negative(String),
}

impl std::fmt::Display for DurationError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DurationError::Invalid(text) => write!(out, "time: invalid duration {text:?}"),
            DurationError::MissingUnit(text) => write!(out, "time: missing unit in duration {text:?}"),
            DurationError::UnknownUnit(unit, text) => write!(out, "time: unknown unit {unit:?} in duration {text:?}"),
            DurationError::Negative(text) => write!(out, "duration {text:?} must not be negative"),
        }
    }
}

impl std::error::Error for DurationError {}

/// Parses a duration into nanoseconds.
///
/// # Errors
/// When the text is not one of Go's durations or does not fit 64 bits.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = parse_term(rest, text)?;
        total = total.checked_add(nanoseconds).filter(|sum| *sum <= LARGEST).ok_or_else(invalid)?;
        rest = after;
    }
    match (negative, i64::try_from(total)) {
        (false, Ok(value)) => Ok(value),
        (true, Ok(value)) => Ok(-value),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Err(_)) => Err(invalid()),
    }
}

/// Parses a duration that must not be negative into whole milliseconds; what is below a millisecond is cut off.
///
/// # Errors
/// As [`parse`], and when the duration is negative.
pub fn parse_ms(text: &str) -> Result<u64, DurationError> {
    let nanoseconds = parse(text)?;
    u64::try_from(nanoseconds / MILLISECOND)
        .ok()
        .filter(|_| nanoseconds >= 0)
        .ok_or_else(|| DurationError::Negative(text.to_owned()))
}

/// Prints nanoseconds as Go does: the largest fitting unit first, no needless zeros, `0s` for nothing.
#[must_use]
pub fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let length = nanoseconds.unsigned_abs();
    if length == 0 {
        return "0s".to_owned();
    }
    if length < SECOND.unsigned_abs() {
        let (unit, digits) = match length {
            0..1_000 => ("ns", 0),
            1_000..1_000_000 => ("µs", 3),
            _ => ("ms", 6),
        };
        return format!("{sign}{}{unit}", decimal(length, digits));
    }
    let seconds_total = length / SECOND.unsigned_abs();
    let (hours, minutes) = (seconds_total / 3600, seconds_total / 60 % 60);
    let seconds = decimal(length - (seconds_total - seconds_total % 60) * SECOND.unsigned_abs(), 9);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        (_, _) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// Prints milliseconds as Go does, see [`format()`]. What 64-bit nanoseconds cannot hold prints as the largest that they can.
#[must_use]
pub fn format_ms(milliseconds: u64) -> String {
    format(i64::try_from(milliseconds).unwrap_or(i64::MAX).saturating_mul(MILLISECOND))
}

/// The size of the most negative duration: one more than the largest positive.
const LARGEST: u64 = 1 << 63;

/// One number with its unit from the start of `rest`: nanoseconds and what follows.
fn parse_term<'a>(rest: &'a str, whole: &str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(whole.to_owned());
    let digits_end = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (integer, after_integer) = rest.split_at(digits_end(rest));
    let (fraction, after_number) = match after_integer.strip_prefix('.') {
        Some(after_point) => after_point.split_at(digits_end(after_point)),
        None => ("", after_integer),
    };
    if integer.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end =
        after_number.bytes().position(|byte| byte == b'.' || byte.is_ascii_digit()).unwrap_or(after_number.len());
    let (unit, after) = after_number.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(whole.to_owned()));
    }
    let scale = unit_ns(unit).ok_or_else(|| DurationError::UnknownUnit(unit.to_owned(), whole.to_owned()))?;
    let integer: u64 = if integer.is_empty() { 0 } else { integer.parse().map_err(|_| invalid())? };
    let nanoseconds = integer
        .checked_mul(scale)
        .and_then(|value| value.checked_add(fraction_ns(fraction, scale)))
        .filter(|value| *value <= LARGEST)
        .ok_or_else(invalid)?;
    Ok((nanoseconds, after))
}

/// Nanoseconds in a unit.
fn unit_ns(unit: &str) -> Option<u64> {
    let nanoseconds = match unit {
        "ns" => 1,
        // The two code points for micro: U+00B5 and the Greek letter U+03BC.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    };
    Some(nanoseconds.unsigned_abs())
}

/// The digits behind the point, times the unit, cut off at the nanosecond.
fn fraction_ns(digits: &str, scale: u64) -> u64 {
    // An hour has fewer than 10^13 nanoseconds: later digits cannot matter.
    let mut value: u128 = 0;
    let mut divisor: u128 = 1;
    for digit in digits.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    u64::try_from(value * u128::from(scale) / divisor).expect("a fraction is less than its unit")
}

/// `value` / 10^`places` without trailing zeros behind the point.
fn decimal(value: u64, places: u32) -> String {
    let divisor = 10u64.pow(places);
    let fraction = value % divisor;
    if fraction == 0 {
        return (value / divisor).to_string();
    }
    let width = usize::try_from(places).expect("at most nine places");
    format!("{}.{}", value / divisor, format!("{fraction:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_what_go_parses() {
        for (text, expected) in [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5 * SECOND),
            ("5.s", 5 * SECOND),
            (".5s", SECOND / 2),
            ("1h2m3.5s", HOUR + 2 * MINUTE + 3 * SECOND + SECOND / 2),
            ("-1.5h", -(HOUR + 30 * MINUTE)),
            ("1us2µs3μs4ms5ns", 4_006_005),
            ("0.3333333333333333333h", 20 * MINUTE - 1),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("9007199254.740993ms", 9_007_199_254_740_993),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_texts_of_go() {
        for (text, expected) in [
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            (".", r#"time: invalid duration ".""#),
            (".s", r#"time: invalid duration ".s""#),
            ("s", r#"time: invalid duration "s""#),
            ("3", r#"time: missing unit in duration "3""#),
            ("1h5", r#"time: missing unit in duration "1h5""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
            ("3000000h", r#"time: invalid duration "3000000h""#),
            ("99999999999999999999s", r#"time: invalid duration "99999999999999999999s""#),
        ] {
            assert_eq!(parse(text).map_err(|error| error.to_string()), Err(expected.to_owned()));
        }
    }

    #[test]
    fn prints_what_go_prints() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200 * MICROSECOND, "2.2ms"),
            (3_300 * MILLISECOND, "3.3s"),
            (10 * MINUTE, "10m0s"),
            (4 * MINUTE + 5 * SECOND + MILLISECOND, "4m5.001s"),
            (HOUR + 2 * MINUTE + 3 * SECOND + SECOND / 2, "1h2m3.5s"),
            (87_600 * HOUR, "87600h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format(nanoseconds), expected);
        }
    }

    #[test]
    fn milliseconds_are_never_negative() {
        assert_eq!(parse_ms("1.9999ms"), Ok(1));
        assert!(parse_ms("-1ns").is_err());
        assert_eq!(format_ms(90_000), "1m30s");
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(nanoseconds in any::<i64>()) {
            prop_assert_eq!(parse(&format(nanoseconds)), Ok(nanoseconds));
        }

        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,22}(ns|us|µs|m|h|s|x)?[0-9.a-z]{0,4}") {
            let _ = parse(&text);
        }
    }
}
