//! The validity of a certificate (RFC 5280, section 4.1): a walk over its DER to the one field this check is about.

use lictor_plugin::{Context, Result, bail};

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// From when and until when it is valid, in seconds since 1970.
pub fn validity(certificate: &[u8]) -> Result<(i64, i64)> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields, VERSION)?.1;
    }
    // The serial number, the signature's algorithm, the issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = element(fields, tag)?.1;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (start, rest) = time(validity)?;
    let (end, _) = time(rest)?;
    Ok((start, end))
}

/// The content of an element with this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(2).context("it is cut off")?;
    if head[0] != tag {
        bail!("it is not a certificate");
    }
    let (length, rest) = match head[1] {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f)).context("it is cut off")?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => bail!("it is not a certificate"),
    };
    rest.split_at_checked(length).context("it is cut off")
}

fn time(bytes: &[u8]) -> Result<(i64, &[u8])> {
    let tag = *bytes.first().context("it is cut off")?;
    let (text, rest) = element(bytes, tag)?;
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).context("a time is no text")?;
    let (year, text) = match tag {
        // Two digits mean 1950 to 2049.
        UTC_TIME => text
            .split_at_checked(2)
            .map(|(year, text)| (number(year).map(|year| year + if year < 50 { 2000 } else { 1900 }), text)),
        GENERALIZED_TIME => text.split_at_checked(4).map(|(year, text)| (number(year), text)),
        _ => bail!("it has no validity"),
    }
    .context("a time is too short")?;
    if text.len() != 11 || !text.ends_with('Z') {
        bail!("a time is not as certificates have it");
    }
    let mut parts = [0; 5];
    for (place, part) in parts.iter_mut().enumerate() {
        *part = number(&text[place * 2..place * 2 + 2])?;
    }
    let [month, day, hour, minute, second] = parts;
    Ok((((days(year?, month, day) * 24 + hour) * 60 + minute) * 60 + second, rest))
}

fn number(digits: &str) -> Result<i64> {
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        bail!("a time has other characters than digits");
    }
    digits.parse().context("a time is too short")
}

/// Days since 1970 of a date of the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        let cases: [(u8, &str, i64); 4] = [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (UTC_TIME, "240229120000Z", 1_709_208_000),
        ];
        for (tag, text, expected) in cases {
            let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
            assert_eq!(time(&bytes).expect("a time").0, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 2, 0x30, 0], &[0xff; 40]] {
            assert!(validity(bytes).is_err(), "{bytes:?}");
        }
    }
}
