//! A schedule is a list of choices: where something other than the obvious happened.
//!
//! Whatever is left open in a run is asked for here: who goes on, whether it is killed, whether a write fails. The
//! answer 0 is the obvious one (the same actor goes on, nothing fails), and only other answers are recorded. So a
//! schedule is short, can be replayed, and can be made shorter by forgetting some of it.

use std::fmt;

/// An answer other than the obvious one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    /// Which question of the run, counted from 0.
    pub at: u32,
    /// The answer.
    pub answer: u32,
}

/// Answers the questions of one run.
pub struct Choices {
    source: Source,
    asked: u32,
    taken: Vec<Deviation>,
}

enum Source {
    Random(fastrand::Rng),
    Replay(Vec<Deviation>),
    Exhaust(Branch),
}

/// A path through the tree of all answers, with a bound on the number of deviations.
#[derive(Debug, Clone, Default)]
struct Branch {
    /// The answers, and how many there were to choose from.
    path: Vec<(u32, u32)>,
    most: usize,
}

impl Choices {
    /// Answers at random; one seed always gives the same answers.
    pub fn random(seed: u64) -> Self {
        Self::from(Source::Random(fastrand::Rng::with_seed(seed)))
    }

    /// Gives the answers of an earlier run.
    pub fn replay(schedule: &[Deviation]) -> Self {
        Self::from(Source::Replay(schedule.to_vec()))
    }

    /// The first of all schedules with at most `most` deviations; [`Self::following`] gives the others.
    pub fn exhaustive(most: usize) -> Self {
        Self::from(Source::Exhaust(Branch { path: Vec::new(), most }))
    }

    fn from(source: Source) -> Self {
        Self { source, asked: 0, taken: Vec::new() }
    }

    /// One of `options` answers. At random, it is other than 0 with the probability `odds`.
    pub fn pick(&mut self, options: usize, odds: f32) -> usize {
        let options = options as u32;
        if options < 2 {
            return 0;
        }
        let at = self.asked;
        self.asked += 1;
        let answer = match &mut self.source {
            Source::Random(rng) => {
                if rng.f32() < odds {
                    rng.u32(1..options)
                } else {
                    0
                }
            }
            Source::Replay(schedule) => {
                let found = schedule.binary_search_by_key(&at, |deviation| deviation.at);
                found.map_or(0, |found| schedule[found].answer.min(options - 1))
            }
            Source::Exhaust(branch) => branch.answer(at as usize, options, self.taken.len()),
        };
        if answer > 0 {
            self.taken.push(Deviation { at, answer });
        }
        answer as usize
    }

    /// Any of `options` answers, all as likely.
    pub fn any(&mut self, options: usize) -> usize {
        self.pick(options, 1.0 - 1.0 / options.max(1) as f32)
    }

    /// What was answered otherwise than obviously.
    pub fn schedule(&self) -> &[Deviation] {
        &self.taken
    }

    /// After an exhaustive run: the next schedule; `None` after the last.
    pub fn following(self) -> Option<Self> {
        let Source::Exhaust(mut branch) = self.source else {
            return None;
        };
        branch.path.truncate(self.asked as usize);
        loop {
            let (answer, options) = branch.path.pop()?;
            let deviations = branch.path.iter().filter(|(answer, _)| *answer > 0).count();
            if answer + 1 < options && deviations < branch.most {
                branch.path.push((answer + 1, options));
                return Some(Self::from(Source::Exhaust(branch)));
            }
        }
    }
}

impl Branch {
    fn answer(&mut self, at: usize, options: u32, deviations: usize) -> u32 {
        if let Some((answer, _)) = self.path.get(at) {
            return *answer;
        }
        // Once all deviations are used up, there is nothing to come back to.
        self.path.push((0, if deviations < self.most { options } else { 1 }));
        0
    }
}

/// Forgets as much of `schedule` as it can while `still_fails`.
pub fn shortest(schedule: &[Deviation], mut still_fails: impl FnMut(&[Deviation]) -> bool) -> Vec<Deviation> {
    let mut best = schedule.to_vec();
    let mut chunk = best.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let before = best.len();
        while start < best.len() {
            let mut shorter = best.clone();
            shorter.drain(start..(start + chunk).min(best.len()));
            if still_fails(&shorter) {
                best = shorter;
            } else {
                start += chunk;
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if best.len() == before {
            return best;
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.at, self.answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(choices: &mut Choices) -> Vec<usize> {
        (0..4).map(|_| choices.pick(3, 0.5)).collect()
    }

    #[test]
    fn one_seed_gives_one_schedule_and_it_can_be_replayed() {
        let mut first = Choices::random(7);
        let expected = answers(&mut first);
        assert_eq!(answers(&mut Choices::random(7)), expected);
        assert_eq!(answers(&mut Choices::replay(first.schedule())), expected);
    }

    #[test]
    fn every_schedule_within_the_bound_comes_once() {
        let mut found = Vec::new();
        let mut next = Some(Choices::exhaustive(2));
        while let Some(mut choices) = next {
            found.push(answers(&mut choices));
            next = choices.following();
        }
        let distinct: std::collections::BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!(distinct.len(), found.len());
        // Of four questions none, one (2 answers each), or two deviate.
        assert_eq!(found.len(), 1 + 4 * 2 + 6 * 4);
    }

    #[test]
    fn what_does_not_matter_is_forgotten() {
        let schedule: Vec<Deviation> = (0..20).map(|at| Deviation { at, answer: 1 }).collect();
        let needed = |kept: &[Deviation]| [3, 11].iter().all(|at| kept.iter().any(|one| one.at == *at));
        let kept: Vec<u32> = shortest(&schedule, needed).iter().map(|one| one.at).collect();
        assert_eq!(kept, [3, 11]);
    }
}
