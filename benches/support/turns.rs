//! Turns: every contestant is measured in every round, so what disturbs the machine for a while disturbs all of them.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::Figures;
use super::limits;

/// A measure ends when its rounds are done, or when its time is over and [`LEAST_ROUNDS`] are. Without a round it is left
/// out.
pub(crate) type Rounds = (usize, Duration);

/// Below this a median says nothing.
const LEAST_ROUNDS: usize = 3;

pub(crate) const fn rounds(rounds: usize, seconds: u64) -> Rounds {
    (rounds, Duration::from_secs(seconds))
}

/// Somebody who is measured.
pub(crate) trait Contender {
    fn name(&self) -> &'static str;
}

/// Gives every contestant its turn, round by round, each round beginning with another one. One that fails is noted
/// and left out of what is left of this measure: it may have taken all the time that a connection gets.
pub(crate) fn turns<C: Contender>(
    what: &str,
    (rounds, time): Rounds,
    contestants: &[C],
    figures: &mut Figures,
    measure: impl Fn(&C, usize, &mut Figures) -> Result<()>,
) -> Result<()> {
    if rounds == 0 {
        return Ok(());
    }
    let began = Instant::now();
    let mut failed = Vec::new();
    for round in 0..rounds {
        if round >= LEAST_ROUNDS && began.elapsed() > time {
            break;
        }
        for turn in 0..contestants.len() {
            let who = &contestants[(round + turn) % contestants.len()];
            if failed.contains(&who.name()) {
                continue;
            }
            limits::check()?;
            if let Err(error) = measure(who, round, figures) {
                limits::check()?;
                figures.fail(who.name(), what, &error);
                failed.push(who.name());
            }
        }
    }
    eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}
