//! Every second of a crowd is killed, and nobody else notices.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use lokt_tests::sandbox::Sandbox;

use crate::helpers::{Member, count, remains, sandbox, work_file};
use crate::judge::order;

const CROWD: usize = 40;

/// A section with two locks of its own kind, below and above the descriptor that it inherited. As a process dies,
/// the kernel frees its descriptors from one end to the other, and may pause between any two: so when the lock is
/// free, one of the witnesses is, and even of the killed it is known that they were alone.
const SECTION: &str = "exec < below; exec 250< above; flock -n 0; below=$?; flock -n 250; above=$?; \
    test $below$above = 11 && echo overlap $1 >> log; \
    echo enter $1 $LOKT_TOKEN >> log; sleep 0.01; echo exit $1 $LOKT_TOKEN >> log";

fn mortal(who: usize) -> bool {
    who % 2 == 1
}

fn contend(sandbox: &Sandbox, who: usize) -> Member {
    let mut command = sandbox.lokt(["guard", "x", "--wait"]);
    if who % 4 > 1 {
        command.args(["--ttl", "5m"]);
    }
    command.args(["--", "bash", "-c", SECTION, "bash", &who.to_string()]);
    // What the dead leave behind must not be swept by those who go on.
    Member::start(sandbox, command.env("LOKT_NO_SWEEP", "1").stdin(Stdio::null()))
}

/// Numbers that look random, from a seed that a failure prints.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Who of the living mortals is next: whoever is in, if he is one of them, else anybody.
fn victim(sandbox: &Sandbox, living: &mut Vec<usize>, dice: &mut Dice) -> usize {
    let log = work_file(sandbox, "log");
    let last =
        log.lines().last().and_then(|line| line.strip_prefix("enter ")?.split(' ').next()?.parse().ok());
    let inside = last.and_then(|last: usize| living.iter().position(|who| *who == last));
    living.swap_remove(inside.unwrap_or_else(|| dice.roll(living.len() as u64) as usize))
}

fn every_second_is_killed(seed: u64) {
    let sandbox = sandbox();
    let mut dice = Dice(seed);
    for witness in ["below", "above"] {
        fs::write(sandbox.work().join(witness), "").unwrap();
    }
    let mut crowd: Vec<Member> = (0..CROWD).map(|who| contend(&sandbox, who)).collect();
    let mut living: Vec<usize> = (0..CROWD).filter(|who| mortal(*who)).collect();
    while !living.is_empty() {
        // Any moment will do: this orders nothing.
        thread::park_timeout(Duration::from_millis(dice.roll(25)));
        crowd[victim(&sandbox, &mut living, &mut dice)].kill();
    }
    for (who, one) in crowd.iter_mut().enumerate() {
        let code = one.end();
        assert!(code == 0 || mortal(who) && code == 137, "{who} ended with {code}, seed {seed}");
    }
    let entered =
        order(&work_file(&sandbox, "log"), mortal).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    assert!((0..CROWD).all(|who| mortal(who) || entered.contains(&who)), "seed {seed}: {entered:?}");
    eprintln!(
        "seed {seed}: {} entered, {} did not leave",
        entered.len(),
        entered.len() - count(&sandbox, "log", "exit")
    );

    let last = sandbox.run(["guard", "x", "--wait", "--", "true"]);
    assert_eq!(last.code, 0, "seed {seed}: {last:?}");
    let nobody = sandbox.run(["status"]);
    assert_eq!(nobody.code, 0, "seed {seed}: {nobody:?}");
    assert_eq!(remains(&sandbox), Vec::<String>::new(), "seed {seed}");
}

#[test]
fn crowd_of_forty_of_which_every_second_is_killed_loses_nobody_else() {
    for _ in 0..5 {
        every_second_is_killed(RandomState::new().build_hasher().finish());
    }
}
