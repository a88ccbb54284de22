//! What probes, clients and silence say about checks, and when that goes to the catalog.
//!
//! A changed status goes at once. A changed output alone waits, so that a check
//! that prints the time does not cost a write every time it runs.

use std::sync::Arc;
use std::time::Duration;

use super::input::{LogLine, Output, Record, Refusal, RunId, TtlState, Weight};
use super::machine::Local;
use super::timers::Alarm;
use crate::Instant;
use crate::health::spec::{CheckKind, Outcome};
use crate::health::text;
use crate::state::tables::{CheckId, Status};

/// How often to look for services that were critical for too long.
const REAP_INTERVAL: Duration = Duration::from_secs(30);

impl Local {
    pub(super) fn ttl_update(&mut self, now: Instant, id: &str, status: Status, output: String) -> Result<(), Refusal> {
        let no_ttl = || Refusal::NoTtl(id.to_owned());
        let spec = self.view.checks.get(id).ok_or_else(no_ttl)?.spec.clone();
        let CheckKind::Ttl { ttl_ms } = spec.kind else { return Err(no_ttl()) };
        let output = text::cap_note(output, spec.output_bytes_max);
        if let Some(track) = self.tracks.get_mut(id) {
            track.note.clone_from(&output);
        }
        self.timers.set(Alarm::Expire(id.to_owned()), now + Duration::from_millis(ttl_ms));
        let state = TtlState { status, output: output.clone() };
        self.emit(Output::Persist(Record::Ttl { id: id.to_owned(), state, ttl_ms }));
        self.log(updated(id, status));
        self.set_result(now, id, Outcome { status, output });
        Ok(())
    }

    pub(super) fn expire(&mut self, now: Instant, id: &str) {
        let note = self.tracks.get(id).map(|t| t.note.as_str()).unwrap_or_default();
        let output = text::ttl_expired(note);
        self.log(LogLine::new(Weight::Warn, "Check missed TTL, is now critical").check(id));
        self.set_result(now, id, Outcome { status: Status::Critical, output });
    }

    pub(super) fn probe_done(&mut self, now: Instant, id: &str, run: RunId, outcome: Outcome) {
        if !self.schedule.finished(now, id, run) {
            return;
        }
        let (Some(local), Some(track)) = (self.view.checks.get(id), self.tracks.get_mut(id)) else { return };
        if let Some(status) = track.streak.judge(&local.spec, outcome.status) {
            self.log_status(id, status);
            self.set_result(now, id, Outcome { status, output: outcome.output });
        }
    }

    /// Gives a check its latest result.
    pub(super) fn set_result(&mut self, now: Instant, id: &str, outcome: Outcome) {
        let Outcome { status, mut output } = outcome;
        if self.settings.discard_check_output {
            output.clear();
        }
        self.note_critical(now, id, status);
        let Some(local) = self.view.checks.get_mut(id) else { return };
        if local.check.status == status && local.check.output == output {
            return;
        }
        let is_new_status = local.check.status != status;
        let check = &mut Arc::make_mut(local).check;
        check.status = status;
        check.output = output;
        let service_id = check.service_id.clone();
        self.touch(&service_id);
        self.changed();
        if is_new_status || self.settings.check_update_interval.is_zero() {
            self.pending.checks.insert(id.to_owned());
        } else {
            self.defer(now, id);
        }
    }

    /// Logs what a probe found when it differs from what the one before found, so that a check which fails all night
    /// fills no disk.
    fn log_status(&mut self, id: &str, status: Status) {
        let Some(track) = self.tracks.get_mut(id) else { return };
        if track.logged.replace(status) == Some(status) {
            return;
        }
        self.log(match status {
            Status::Critical => LogLine::new(Weight::Warn, "Check is now critical").check(id),
            Status::Warning => LogLine::new(Weight::Warn, "Check is now warning").check(id),
            Status::Passing => updated(id, status),
        });
    }

    fn note_critical(&mut self, now: Instant, id: &str, status: Status) {
        let (Some(track), Some(local)) = (self.tracks.get_mut(id), self.view.checks.get(id)) else { return };
        if status != Status::Critical {
            track.critical_since = None;
            return;
        }
        track.critical_since.get_or_insert(now);
        if local.spec.deregister_critical_service_after_ms > 0 && !self.timers.is_set(&Alarm::Reap) {
            self.timers.set(Alarm::Reap, now + REAP_INTERVAL);
        }
    }

    /// Lets a changed output wait for half the update interval up to one and a half.
    fn defer(&mut self, now: Instant, id: &str) {
        let alarm = Alarm::Flush(id.to_owned());
        if self.timers.is_set(&alarm) || self.pending.checks.contains(id) {
            return;
        }
        let interval = self.settings.check_update_interval;
        let wait = interval / 2 + self.draw(interval);
        self.timers.set(alarm, now + wait);
    }

    /// Removes services that have a check which was critical for longer than it allows.
    pub(super) fn reap(&mut self, now: Instant) {
        let mut overdue: Vec<(CheckId, String)> = Vec::new();
        let mut is_waiting = false;
        for (id, track) in &self.tracks {
            let (Some(since), Some(local)) = (track.critical_since, self.view.checks.get(id)) else { continue };
            let limit_ms = local.spec.deregister_critical_service_after_ms;
            if limit_ms == 0 || local.check.service_id.is_empty() {
                continue;
            }
            if now.saturating_since(since) >= Duration::from_millis(limit_ms) {
                overdue.push((id.clone(), local.check.service_id.clone()));
            } else {
                is_waiting = true;
            }
        }
        for (id, service_id) in overdue {
            if self.view.services.contains_key(&service_id) {
                let message = "Check for service has been critical for too long; deregistered service";
                self.log(LogLine::new(Weight::Warn, message).service(&service_id).check(&id));
                self.remove_service(&service_id);
            }
        }
        if is_waiting {
            self.timers.set(Alarm::Reap, now + REAP_INTERVAL);
        }
    }
}

/// The line for a status that needs no attention, or that a client reported itself.
fn updated(id: &str, status: Status) -> LogLine {
    LogLine { status: Some(status), ..LogLine::new(Weight::Debug, "Check status updated").check(id) }
}
