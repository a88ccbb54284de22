//! The words around check results that clients know, and how much of an output is kept.

use std::time::Duration;

use crate::duration;

/// The longest output kept when nothing else is configured, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 4096;

/// What a TTL check shows when nobody spoke for it in time; `last_output` is the latest note.
pub fn ttl_expired(last_output: &str) -> String {
    if last_output.is_empty() {
        "TTL expired".to_owned()
    } else {
        format!("TTL expired (last output before timeout follows): {last_output}")
    }
}

/// Cuts a note to `bytes_max` and says so behind it. Cuts between characters.
pub fn cap_note(mut note: String, bytes_max: usize) -> String {
    let total = note.len();
    if total > bytes_max {
        note.truncate(note.floor_char_boundary(bytes_max));
        note.push_str(&format!(" ... (captured {bytes_max} of {total} bytes)"));
    }
    note
}

/// What a script printed, of which only the last bytes were kept.
pub fn captured(tail: &str, kept: usize, total: u64) -> String {
    if total > kept as u64 { format!("Captured {kept} of {total} bytes\n...\n{tail}") } else { tail.to_owned() }
}

/// What a script check shows that ran too long. `limit` reads as Go prints it.
pub fn timed_out(limit: Duration, printed: &str) -> String {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    format!("Timed out ({}) running check\n\n{printed}", duration::format_ms(limit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(cap_note("ab".into(), 2), "ab");
        assert_eq!(cap_note("abé".into(), 3), "ab ... (captured 3 of 4 bytes)");
    }
}
