//! More guards and waiters of one user than inotify has instances (128).

use std::fs;
use std::io::pipe;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use lokt_tests::sandbox::{Sandbox, eventually};

use crate::helpers::{Member, count, remains, sandbox, work_file};

const GUARDS: usize = 300;
const WAITERS: usize = 1000;

/// How many waiters of the thousand stand in one line; the others stand before ten other locks.
const IN_ONE_LINE: usize = 500;

/// For how long the waiters are watched.
const WATCHED: Duration = Duration::from_secs(5);

/// How often they are watched for so long, at most, until they have come to rest.
const WINDOWS: usize = 6;

/// How many ticks (10 ms each) a thousand waiters may use in that time, all together.
const FEW: u64 = 30;

/// Guards of as many names, which hold until their input ends.
fn guards(sandbox: &Sandbox, input: &std::io::PipeReader) -> Vec<Member> {
    let hold = |name: usize| {
        let mut command = sandbox.lokt(["guard", &format!("n{name}"), "--"]);
        command.args(["sh", "-c", "echo in >> held; read line; exit 0"]).stdin(input.try_clone().unwrap());
        Member::start(sandbox, &mut command)
    };
    let guards = (0..GUARDS).map(hold).collect();
    eventually("all guards hold", || count(sandbox, "held", "in") == GUARDS);
    guards
}

fn waiters(sandbox: &Sandbox) -> Vec<Member> {
    let wait = |who: usize| {
        let name = if who < IN_ONE_LINE { 0 } else { 1 + who % 10 };
        let mut command = sandbox.lokt(["guard", &format!("n{name}"), "--wait", "--"]);
        command.args(["sh", "-c", "echo turn >> turns"]).stdin(Stdio::null());
        Member::start(sandbox, &mut command)
    };
    let waiters = (0..WAITERS).map(wait).collect();
    eventually("all wait", || count(sandbox, "err", "lokt: waiting, place ") == WAITERS);
    waiters
}

/// How often they may wake in that time, all together. Looking once a second would be five thousand times.
const RARELY: u64 = 2500;

/// How often processes have gone to sleep so far.
fn sleeps(crowd: &[Member]) -> u64 {
    let slept = |one: &Member| {
        let status = fs::read_to_string(format!("/proc/{}/status", one.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    crowd.iter().map(slept).sum()
}

/// The ticks that processes have used so far, in user and in kernel mode.
fn ticks(crowd: &[Member]) -> u64 {
    let used = |one: &Member| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", one.pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // Fields 14 and 15 of the line, counted from 1; the first here is the third.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    crowd.iter().map(used).sum()
}

/// The time is what is measured: nobody is waited for.
fn let_pass(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        thread::park_timeout(time.saturating_sub(began.elapsed()));
    }
}

/// Whether a crowd used next to no processor for a while, and woke rarely.
fn rests(crowd: &[Member]) -> bool {
    let (ticks_before, sleeps_before) = (ticks(crowd), sleeps(crowd));
    let_pass(WATCHED);
    let (used, woke) = (ticks(crowd) - ticks_before, sleeps(crowd) - sleeps_before);
    eprintln!("{} waiters used {used} ticks and woke {woke} times in {WATCHED:?}", crowd.len());
    used <= FEW && woke <= RARELY
}

#[test]
fn crowd_of_300_guards_and_1000_waiters_of_one_user_rests_and_ends_well() {
    let sandbox = sandbox();
    let (input, held) = pipe().unwrap();
    let mut guards = guards(&sandbox, &input);
    let mut waiters = waiters(&sandbox);

    // Some are still about to lie down, and to be started leaves the machine busy for a while.
    assert!((0..WINDOWS).any(|_| rests(&waiters)), "they do not come to rest");
    assert_eq!(work_file(&sandbox, "turns"), "", "nobody enters while another holds it");

    drop(held);
    for one in guards.iter_mut().chain(&mut waiters) {
        assert_eq!(one.end(), 0);
    }
    assert_eq!(count(&sandbox, "turns", "turn"), WAITERS);
    let said = work_file(&sandbox, "err");
    let usual = ["lokt: waiting, place ", "lokt: got lock ", "lokt: waiting for "];
    let odd = said.lines().filter(|line| !usual.iter().any(|usual| line.contains(usual)));
    assert_eq!(odd.collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(remains(&sandbox), Vec::<String>::new());
}
