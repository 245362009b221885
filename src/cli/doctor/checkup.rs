//! Runs checks one after another, reports each of them, and stops where the scope ends.

use std::time::Instant;

use super::check::{Check, Examined, MAX_NAME};
use super::finding::{Broken, Finding};
use super::redaction::Redaction;
use crate::failure::Failure;

/// How many checks run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Up to the first problem.
    FirstProblem,
    /// Up to the first problem, without measurements.
    Login,
    /// All, whatever they find.
    All,
}

/// An event that a [`Listener`] hears.
pub(super) enum Event<'e> {
    /// The check of this name begins.
    Begins(&'static str),
    Ended(Finding, &'e Redaction),
}

/// Hears of each check. Its failure ends the checkup.
pub(super) type Listener<'l> = dyn FnMut(Event<'_>) -> Result<(), Failure> + 'l;

/// A run of checks.
pub(super) struct Checkup<'l> {
    scope: Scope,
    has_vps: bool,
    listener: &'l mut Listener<'l>,
    has_stopped: bool,
    /// Hides private text from the report.
    pub(super) redaction: Redaction,
    pub(super) not_checked: Vec<&'static str>,
    /// How many of these [`Scope::All`] would have run.
    pub(super) beyond_scope: usize,
    /// The logins that the first problem breaks.
    pub(super) broken: Option<Broken>,
    pub(super) login_works: bool,
}

impl<'l> Checkup<'l> {
    /// `has_vps` is whether the command line names a VPS.
    pub(super) fn new(scope: Scope, has_vps: bool, redaction: Redaction, listener: &'l mut Listener<'l>) -> Self {
        Self {
            scope,
            has_vps,
            listener,
            has_stopped: false,
            redaction,
            not_checked: Vec::new(),
            beyond_scope: 0,
            broken: None,
            login_works: false,
        }
    }

    /// Runs `check`, unless it is out of scope. Returns the value that it gives.
    ///
    /// # Errors
    /// The errors of the listener.
    pub(super) fn check<C: Check>(&mut self, check: &C) -> Result<Option<C::Gives>, Failure> {
        const { assert!(C::NAME.len() <= MAX_NAME, "the name does not fit its column") };
        let has_subject = self.has_vps || !C::NEEDS_VPS;
        if self.has_stopped || !has_subject {
            self.not_checked.push(C::NAME);
            self.beyond_scope += usize::from(has_subject);
            return Ok(None);
        }
        (self.listener)(Event::Begins(C::NAME))?;
        let tried = check.tried();
        let began = Instant::now();
        let Examined { verdict, gives } = check.examine().unwrap_or_else(Examined::from);
        let took = began.elapsed();
        if let Some(broken) = verdict.breaks() {
            self.broken.get_or_insert(broken);
            self.has_stopped = self.scope != Scope::All;
        }
        if let Some(home) = gives.as_ref().and_then(C::home) {
            self.redaction.hide_home(home);
        }
        (self.listener)(Event::Ended(Finding { check: C::NAME, tried, took, verdict }, &self.redaction))?;
        Ok(gives)
    }

    pub(super) fn measures(&self) -> bool {
        self.scope != Scope::Login
    }
}
