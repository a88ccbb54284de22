//! The words around check results that clients know, and how much of an output is kept.

use std::time::Duration;

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
    format!("Timed out ({}) running check\n\n{printed}", go_duration(limit))
}

/// A duration as Go prints it: `1h2m3.5s`, `250ms`, `0s`.
fn go_duration(d: Duration) -> String {
    let nanos = d.subsec_nanos();
    let total_s = d.as_secs();
    if total_s == 0 && nanos != 0 {
        let (unit, scale) = match nanos {
            1_000_000.. => ("ms", 1_000_000.0),
            1_000.. => ("µs", 1_000.0),
            _ => ("ns", 1.0),
        };
        return format!("{}{unit}", f64::from(nanos) / scale);
    }
    let (h, m, s) = (total_s / 3600, total_s / 60 % 60, total_s % 60);
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}").trim_end_matches('0').to_owned() };
    match (h, m) {
        (0, 0) => format!("{s}{fraction}s"),
        (0, m) => format!("{m}m{s}{fraction}s"),
        (h, m) => format!("{h}h{m}m{s}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_prints_them() {
        let cases =
            [(0, "0s"), (250, "250ms"), (1_000, "1s"), (1_500, "1.5s"), (60_000, "1m0s"), (3_723_000, "1h2m3s")];
        for (ms, text) in cases {
            assert_eq!(go_duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(cap_note("ab".into(), 2), "ab");
        assert_eq!(cap_note("abé".into(), 3), "ab ... (captured 3 of 4 bytes)");
    }
}
