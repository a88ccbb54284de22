//! The end of every step: whatever is due is started, aliases follow, and the catalog gets what it lacks.

use std::sync::Arc;

use super::anti_entropy::{self, Covered, Drift, Remote};
use super::cadence::Turn;
use super::input::{LogLine, Output, SyncId, SyncResult, Weight};
use super::machine::Local;
use super::timers::Alarm;
use crate::Instant;

impl Local {
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(alarm) = self.timers.next_due(now) {
            match alarm {
                Alarm::Expire(id) => self.expire(now, &id),
                Alarm::Flush(id) => {
                    self.pending.checks.insert(id);
                }
                Alarm::Reap => self.reap(now),
            }
        }
        while let Some((id, run)) = self.schedule.next_due(now) {
            let spec = self.view.checks.get(&id).expect("only registered checks are on the schedule").spec.clone();
            self.emit(Output::Run { spec, run });
        }
        self.mirror(now);
        self.sync(now);
    }

    fn sync(&mut self, now: Instant) {
        match self.cadence.turn(now, !self.pending.is_empty()) {
            Turn::Rest => {}
            Turn::Compare => {
                self.cadence.reading();
                self.emit(Output::ReadRemote);
            }
            Turn::Write => self.write(),
        }
    }

    fn write(&mut self) {
        let planned = anti_entropy::plan(&self.settings.node, &self.view, &self.pending);
        for id in &self.pending.checks {
            self.timers.cancel(&Alarm::Flush(id.clone()));
        }
        let (commands, covered) = planned.into_iter().unzip();
        let id = self.cadence.writing(covered);
        self.emit(Output::Sync { id, commands });
    }

    pub(super) fn servers_changed(&mut self, now: Instant) {
        let random = self.random();
        self.cadence.servers_changed(now, random);
    }

    pub(super) fn remote_view(&mut self, now: Instant, remote: Result<Box<Remote>, String>) {
        let random = self.random();
        match remote {
            Ok(remote) => {
                self.cadence.compared(now, random);
                self.compare(&remote);
            }
            Err(why) => {
                self.log(LogLine::new(Weight::Warn, "failed to sync remote state").error(why));
                self.cadence.failed(now, random);
            }
        }
    }

    fn compare(&mut self, remote: &Remote) {
        let is_deferred = |id: &str| self.timers.is_set(&Alarm::Flush(id.to_owned()));
        let Drift { pending, tags } = anti_entropy::compare(&self.settings.node, &self.view, is_deferred, remote);
        self.pending = pending;
        for (id, tags) in tags {
            if let Some(local) = self.view.services.get_mut(&id) {
                Arc::make_mut(local).service.tags = tags;
                self.changed();
            }
        }
    }

    pub(super) fn sync_done(&mut self, now: Instant, id: SyncId, results: Vec<SyncResult>) {
        let Some(covered) = self.cadence.written(id) else { return };
        let mut failure = None;
        let missing = std::iter::repeat(SyncResult::Failed("no result".to_owned()));
        for (covered, result) in covered.into_iter().zip(results.into_iter().chain(missing)) {
            match result {
                SyncResult::Done => {
                    self.log_synced(&covered);
                    covered.into_iter().for_each(|c| self.settled(c));
                }
                SyncResult::Failed(why) => failure = Some(why),
            }
        }
        if let Some(why) = failure {
            self.log(LogLine::new(Weight::Warn, "failed to sync changes").error(why));
            let random = self.random();
            self.cadence.failed(now, random);
        }
    }

    /// Says what the catalog has now. Checks that came or went with their service have no line of their own.
    fn log_synced(&mut self, covered: &[Covered]) {
        let line = |message| LogLine::new(Weight::Info, message);
        let of_service = covered.iter().any(|c| matches!(c, Covered::Service(_) | Covered::GoneService(_)));
        for covered in covered {
            match covered {
                Covered::Node(_) => self.log(line("Synced node info")),
                Covered::Service(sent) => self.log(line("Synced service").service(&sent.service.id)),
                Covered::GoneService(id) => self.log(line("Deregistered service").service(id)),
                Covered::Check(_) | Covered::GoneCheck(_) if of_service => {}
                Covered::Check(sent) => self.log(line("Synced check").check(&sent.check.id)),
                Covered::GoneCheck(id) => self.log(line("Deregistered check").check(id)),
            }
        }
    }

    /// The catalog has this now, unless it changed again meanwhile.
    fn settled(&mut self, covered: Covered) {
        match covered {
            Covered::Node(sent) => self.pending.node &= *sent != self.settings.node,
            Covered::Service(sent) => {
                let id = &sent.service.id;
                if self.view.services.get(id).is_some_and(|current| current.service == sent.service) {
                    self.pending.services.remove(id);
                }
            }
            Covered::Check(sent) => {
                let id = &sent.check.id;
                let is_deferred = self.timers.is_set(&Alarm::Flush(id.clone()));
                let is_same =
                    |current: &super::LocalCheck| anti_entropy::same_check(&current.check, &sent.check, is_deferred);
                if self.view.checks.get(id).is_some_and(|current| is_same(current)) {
                    self.pending.checks.remove(id);
                }
            }
            Covered::GoneService(id) => {
                self.pending.gone_services.remove(&id);
            }
            Covered::GoneCheck(id) => {
                self.pending.gone_checks.remove(&id);
            }
        }
    }
}
