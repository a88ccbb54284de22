//! Which version of a plugin serves, and how another takes its place: loaded beside it, tried without effect, then swapped in.
//!
//! A version that can't be loaded, that fails in a trial, or that finds a check in a worse state than the serving version does in
//! the same trial, is refused, and the serving one stays. A machine: it is told what happened and says what to do.
//! What a version is, it does not know; two that are equal are the same.

use crate::state::tables::Status;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<V> {
    /// The plugin's source names this version.
    Wanted(V),
    /// A version is ready to run.
    Loaded(V),
    /// A version can't be loaded.
    Refused {
        /// Which.
        version: V,
        /// Why.
        reason: String,
    },
    /// One trial of a version ended.
    Tried {
        /// Which.
        version: V,
        /// What speaks against it.
        fault: Option<String>,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<V> {
    /// Get it ready to run.
    Load(V),
    /// Run every check with it once, beside the version that serves, without effect.
    Try(V),
    /// It serves from now on.
    Serve(V),
    /// It does not serve; what served before goes on.
    Refuse {
        /// Which.
        version: V,
        /// Why.
        reason: String,
    },
}

/// A version on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate<V> {
    version: V,
    trials_passed: u32,
}

/// The versions of one plugin on one agent.
#[derive(Clone, Debug)]
pub struct Rollout<V> {
    trials: u32,
    serving: Option<V>,
    candidate: Option<Candidate<V>>,
    refused: Option<(V, String)>,
}

impl<V: Clone + PartialEq> Rollout<V> {
    /// Begins with the version that serves already, if any. One that comes to replace another passes `trials` trials
    /// first; the first of all needs none.
    pub fn new(serving: Option<V>, trials: u32) -> Self {
        Rollout { trials, serving, candidate: None, refused: None }
    }

    /// The version that serves.
    pub fn serving(&self) -> Option<&V> {
        self.serving.as_ref()
    }

    /// The version on its way, and how many trials it has passed.
    pub fn candidate(&self) -> Option<(&V, u32)> {
        self.candidate.as_ref().map(|candidate| (&candidate.version, candidate.trials_passed))
    }

    /// The version that was refused last and is still wanted, and why it was refused.
    pub fn refused(&self) -> Option<(&V, &str)> {
        self.refused.as_ref().map(|(version, reason)| (version, reason.as_str()))
    }

    /// Takes in what happened. News of a version that is not on its way any more changes nothing.
    pub fn step(&mut self, input: Input<V>) -> Option<Output<V>> {
        match input {
            Input::Wanted(version) => self.want(version),
            Input::Loaded(version) => {
                self.candidate_is(&version).then_some(())?;
                match self.serving {
                    Some(_) if self.trials > 0 => Some(Output::Try(version)),
                    _ => self.serve(),
                }
            }
            Input::Refused { version, reason } => self.refuse(&version, reason),
            Input::Tried { version, fault: Some(fault) } => self.refuse(&version, fault),
            Input::Tried { version, fault: None } => {
                let candidate = self.candidate.as_mut().filter(|candidate| candidate.version == version)?;
                candidate.trials_passed += 1;
                match candidate.trials_passed < self.trials {
                    true => Some(Output::Try(version)),
                    false => self.serve(),
                }
            }
        }
    }

    /// What was refused is not tried again before another version was wanted: it would be refused again.
    fn want(&mut self, version: V) -> Option<Output<V>> {
        if self.serving.as_ref() == Some(&version) {
            (self.candidate, self.refused) = (None, None);
            return None;
        }
        if self.candidate_is(&version) || self.refused.as_ref().is_some_and(|(refused, _)| *refused == version) {
            return None;
        }
        self.refused = None;
        self.candidate = Some(Candidate { version: version.clone(), trials_passed: 0 });
        Some(Output::Load(version))
    }

    fn candidate_is(&self, version: &V) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| candidate.version == *version)
    }

    fn serve(&mut self) -> Option<Output<V>> {
        let version = self.candidate.take()?.version;
        self.serving = Some(version.clone());
        Some(Output::Serve(version))
    }

    fn refuse(&mut self, version: &V, reason: String) -> Option<Output<V>> {
        self.candidate.take_if(|candidate| candidate.version == *version)?;
        self.refused = Some((version.clone(), reason.clone()));
        Some(Output::Refuse { version: version.clone(), reason })
    }
}

/// What speaks against a version after both have run the same check: it failed where the serving one did not, or found a worse state.
/// An error is a run that gave no state.
pub fn fault(check: &str, serving: Result<Status, String>, candidate: Result<Status, String>) -> Option<String> {
    match (serving, candidate) {
        (Err(_), _) => None,
        (Ok(_), Err(reason)) => Some(format!("in a trial with check {check:?} it {reason}")),
        (Ok(before), Ok(after)) if after > before => Some(format!(
            "in a trial it found check {check:?} {}, where the serving version found it {}",
            after.as_str(),
            before.as_str()
        )),
        (Ok(_), Ok(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(version: u32, trials: u32) -> Rollout<u32> {
        let mut rollout = Rollout::new(None, trials);
        assert_eq!(rollout.step(Input::Wanted(version)), Some(Output::Load(version)));
        assert_eq!(rollout.step(Input::Loaded(version)), Some(Output::Serve(version)));
        rollout
    }

    fn tried(version: u32, fault: Option<&str>) -> Input<u32> {
        Input::Tried { version, fault: fault.map(str::to_owned) }
    }

    #[test]
    fn the_first_version_serves_as_soon_as_it_is_loaded() {
        assert_eq!(serving(1, 3).serving(), Some(&1));
    }

    #[test]
    fn another_version_serves_after_its_trials() {
        let mut rollout = serving(1, 2);
        assert_eq!(rollout.step(Input::Wanted(2)), Some(Output::Load(2)));
        assert_eq!(rollout.step(Input::Loaded(2)), Some(Output::Try(2)));
        assert_eq!(rollout.step(tried(2, None)), Some(Output::Try(2)));
        assert_eq!(rollout.serving(), Some(&1), "still the old one");
        assert_eq!(rollout.candidate(), Some((&2, 1)));
        assert_eq!(rollout.step(tried(2, None)), Some(Output::Serve(2)));
        assert_eq!((rollout.serving(), rollout.candidate()), (Some(&2), None));
    }

    #[test]
    fn without_trials_it_serves_at_once() {
        let mut rollout = serving(1, 0);
        rollout.step(Input::Wanted(2));
        assert_eq!(rollout.step(Input::Loaded(2)), Some(Output::Serve(2)));
    }

    #[test]
    fn a_version_that_fails_is_refused_once_and_the_old_one_stays() {
        for failure in [Input::Refused { version: 2, reason: "torn".to_owned() }, tried(2, Some("torn"))] {
            let mut rollout = serving(1, 2);
            rollout.step(Input::Wanted(2));
            assert_eq!(rollout.step(failure), Some(Output::Refuse { version: 2, reason: "torn".to_owned() }));
            assert_eq!((rollout.serving(), rollout.refused()), (Some(&1), Some((&2, "torn"))));
            assert_eq!(rollout.step(Input::Wanted(2)), None, "the same version would fail again");
            assert_eq!(rollout.step(Input::Wanted(3)), Some(Output::Load(3)));
            assert_eq!(rollout.refused(), None);
        }
    }

    #[test]
    fn a_newer_wish_overtakes_a_version_on_its_way() {
        let mut rollout = serving(1, 1);
        rollout.step(Input::Wanted(2));
        assert_eq!(rollout.step(Input::Wanted(3)), Some(Output::Load(3)));
        assert_eq!(rollout.step(Input::Loaded(2)), None);
        assert_eq!(rollout.step(tried(2, Some("late"))), None);
        assert_eq!(rollout.step(Input::Loaded(3)), Some(Output::Try(3)));
    }

    #[test]
    fn going_back_to_what_serves_calls_the_other_off() {
        let mut rollout = serving(1, 1);
        rollout.step(Input::Wanted(2));
        assert_eq!(rollout.step(Input::Wanted(1)), None);
        assert_eq!(rollout.candidate(), None);
        assert_eq!(rollout.step(Input::Wanted(2)), Some(Output::Load(2)), "and it may come again");
    }

    #[test]
    fn worse_than_the_serving_version_is_a_fault() {
        use Status::{Critical, Passing, Warning};
        let failed = || Err("trapped".to_owned());
        for (serving, candidate, faulty) in [
            (Ok(Passing), Ok(Passing), false),
            (Ok(Passing), Ok(Warning), true),
            (Ok(Warning), Ok(Critical), true),
            (Ok(Critical), Ok(Passing), false),
            (Ok(Critical), failed(), true),
            (failed(), failed(), false),
            (failed(), Ok(Critical), false),
        ] {
            assert_eq!(fault("web", serving.clone(), candidate.clone()).is_some(), faulty, "{serving:?} {candidate:?}");
        }
    }
}
