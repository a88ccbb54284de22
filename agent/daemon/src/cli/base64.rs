//! Base 64 as Go's standard decoder takes it: line breaks are skipped, bits after the last byte are ignored.
//!
//! Needed because the texts of mistakes count positions in Go's way.

/// Decodes `text`.
///
/// # Errors
/// `illegal base64 data at input byte N`.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    let mut symbols = text.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n')).peekable();
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    while symbols.peek().is_some() {
        let (mut group, mut count) = (0_u32, 0);
        while count < 4 {
            let Some((at, &symbol)) = symbols.next() else {
                return Err(illegal(text.len() - count));
            };
            if let Some(bits) = bits(symbol) {
                group |= bits << (18 - 6 * count);
                count += 1;
                continue;
            }
            if symbol != b'=' || count < 2 {
                return Err(illegal(at));
            }
            if count == 2 {
                match symbols.next() {
                    Some((_, b'=')) => {}
                    Some((at, _)) => return Err(illegal(at - 1)),
                    None => return Err(illegal(text.len())),
                }
            }
            if let Some((at, _)) = symbols.next() {
                return Err(illegal(at));
            }
            break;
        }
        let [_, bytes @ ..] = group.to_be_bytes();
        decoded.extend_from_slice(&bytes[..count - 1]);
    }
    Ok(decoded)
}

fn bits(symbol: u8) -> Option<u32> {
    Some(u32::from(match symbol {
        b'A'..=b'Z' => symbol - b'A',
        b'a'..=b'z' => symbol - b'a' + 26,
        b'0'..=b'9' => symbol - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_every_length_and_skips_line_breaks() {
        for (text, bytes) in [("", ""), ("aA==", "h"), ("aGk=", "hi"), ("aGVs", "hel"), ("aGVs\r\nbG8=\n", "hello")] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn counts_positions_as_go_does() {
        for (text, at) in [("!", 0), ("abc", 0), ("aGVsbG8", 4), ("aGVsbG8=x", 8), ("a===", 1), ("aA=x", 2), ("aA=", 3)]
        {
            assert_eq!(decode(text.as_bytes()).unwrap_err(), format!("illegal base64 data at input byte {at}"));
        }
    }
}
