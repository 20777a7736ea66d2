//! Random arguments and a random environment, for the real program.
//!
//! Whatever they are: it ends in time, without a panic, with an exit code that is documented, and in words that a
//! terminal does not obey; a mistake is exit 64, with one line that says what is wrong; and nothing is written
//! outside of the root. Half of the cases come from a fixed seed, half from a new one each time, which a failure
//! names; `LOKT_HOSTILE_SEED` repeats it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use lokt_tests::sandbox::{Output, output};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::attack::Attack;

const FIXED_SEED: u64 = 0x6c6f_6b74;
const SEED_VARIABLE: &str = "LOKT_HOSTILE_SEED";

/// Names of locks: few, so that they are met again.
const NAMES: [&str; 4] = ["x", "y", ".hidden", "x.json"];

/// What is no argument of any command, wherever it stands before `--`.
const FAULTS: [&[&str]; 22] = [
    &["--frobnicate"],
    &["--frobnicate=1"],
    &["-Z"],
    &["--ttl", "5"],
    &["--ttl=1d"],
    &["--ttl", "-5s"],
    &["--ttl", "99999999999999999999h"],
    &["--timeout", "\u{1b}[2J"],
    &["--kill-after", ""],
    &["--pid", "0"],
    &["--pid=-1"],
    &["--pid", "99999999999999999999"],
    &["--lock-id", "xyz"],
    &["--on-lost", "maybe"],
    &["--conflict-exit-code", "256"],
    &["--conflict-exit-code=-1"],
    &["--json=maybe"],
    &["--owner", ""],
    &["x", "y", "z"],
    &["../x"],
    &["a b"],
    &["\u{202e}"],
];

/// What else an argument or a variable may be.
const ODD: [&[u8]; 24] = [
    b"",
    b"-",
    b"--",
    b"---",
    b"=",
    b"--=",
    b"--ttl=",
    b"-h=1",
    b"..",
    b"../x",
    b"/",
    b"/etc/passwd",
    b"/dev/null",
    b"a/b",
    b" ",
    b"\n",
    b"\t",
    b"\x1b]0;t\x07",
    b"\xff\xfe",
    b"\xf0\x9f\x94\x92",
    b"%s%n",
    b"$(id)",
    b"*",
    b"0",
];

const OPTIONS: [&str; 30] = [
    "--ttl",
    "-ttl",
    "--ttl=5m",
    "--timeout",
    "--timeout=10ms",
    "--wait",
    "-wait=true",
    "--wait=false",
    "--json",
    "--break-stale",
    "--force",
    "--note",
    "--note=n",
    "--pid",
    "--lock-id",
    "--owner",
    "--all",
    "--prune-expired",
    "--on-lost",
    "--on-lost=warn",
    "--kill-after",
    "--conflict-exit-code",
    "--with",
    "--with=a,b",
    "--help",
    "-h",
    "--version",
    "-V",
    "--conflict-exit-code=7",
    "--",
];

const VALUES: [&str; 11] =
    ["5m", "10ms", "0s", "1h30m", "7", "kill", "warn", "true", "false", "no-such-command", "a,b"];

const COMMANDS: [&str; 11] =
    ["lock", "guard", "unlock", "renew", "status", "why", "exists", "freeze", "unfreeze", "help", "version"];

const VARIABLES: [&str; 18] = [
    "LOKT_OWNER",
    "LOKT_AGENT_ID",
    "LOKT_NAME",
    "LOKT_LOCK_ID",
    "LOKT_TOKEN",
    "LOKT_TOKENS",
    "LOKT_HELD",
    "LOKT_NO_SWEEP",
    "HOME",
    "USER",
    "TERM",
    "COLUMNS",
    "NO_COLOR",
    "CLICOLOR_FORCE",
    "RUST_BACKTRACE",
    "TZ",
    "LC_ALL",
    "TMPDIR",
];

/// Roots, from the working directory: those that can be made, and those that can't.
const ROOTS: [&[u8]; 16] = [
    b"",
    b".",
    b"r",
    b"a/b/c",
    b" ",
    b"-r",
    b"x\ny",
    b"\x1b[31m",
    b"\xff\xfe",
    b"etcd://host/path",
    b"~/locks",
    b"../canary/file",
    b"../canary/fifo",
    b"/dev/null",
    b"/dev/null/x",
    b"/proc/self/fd",
];

/// One call of the program.
#[derive(Debug, Clone, Default)]
struct Call {
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

#[test]
fn arguments_without_a_mistake_are_taken_and_those_with_one_are_refused() {
    let place = Place::new();
    run(120, &(proper(), of((mistake(), any::<Index>()))), |(proper, mistake)| {
        let mut call = Call { arguments: proper, ..Call::default() };
        if let Some((mistake, at)) = &mistake {
            // After the command, and before the one that is guarded.
            let end = call.arguments.iter().position(|argument| argument == "--");
            let at = 1 + at.index(end.unwrap_or(call.arguments.len()));
            // Not between an option and its value.
            let at = if call.arguments[at - 1].as_bytes().starts_with(b"--") { 1 } else { at };
            call.arguments.splice(at..at, mistake.clone());
        }
        let output = place.check(&call);
        assert_eq!(output.code == 64, mistake.is_some(), "{call:?}: {output:?}");
    });
}

#[test]
fn every_mistake_is_refused_by_every_command() {
    let place = Place::new();
    for command in ["lock", "unlock", "renew", "status", "why", "exists", "guard"] {
        for mistake in FAULTS {
            let mut arguments = words(&[command, "x"]);
            arguments.extend(words(mistake));
            if command == "guard" {
                arguments.extend(words(&["--", "true"]));
            }
            let call = Call { arguments, ..Call::default() };
            let output = place.check(&call);
            assert_eq!(output.code, 64, "{call:?}: {output:?}");
        }
    }
}

#[test]
fn what_is_no_command_is_not_run_and_said_in_words() {
    let place = Place::new();
    for odd in ODD {
        let mut call = Call { arguments: words(&["guard", "x", "--"]), ..Call::default() };
        call.arguments.push(OsStr::from_bytes(odd).to_owned());
        let output = place.check(&call);
        assert!(matches!(output.code, 126 | 127), "{call:?}: {output:?}");
        assert!(place.attack.sandbox.leftovers().is_empty(), "{call:?}");
    }
}

#[test]
fn any_arguments_and_any_environment_end_in_time_and_in_words() {
    let place = Place::new();
    run(120, &(soup(), environment()), |(arguments, environment)| {
        let _ = place.check(&Call { arguments, environment });
    });
}

/// Runs `check` on `cases` made up from each of two seeds.
fn run<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(S::Value)) {
    let given = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().unwrap());
    let seeds = given.map_or_else(|| vec![FIXED_SEED, RandomState::new().hash_one(0)], |seed| vec![seed]);
    for seed in seeds {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_le_bytes().repeat(4));
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 200,
            max_shrink_time: 60_000,
            ..Config::default()
        };
        let tried = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
            check(value);
            Ok(())
        });
        match tried {
            Ok(()) => {}
            Err(TestError::Fail(why, value)) => panic!("{SEED_VARIABLE}={seed}: {why}\nwith {value:?}"),
            Err(TestError::Abort(why)) => panic!("{SEED_VARIABLE}={seed}: {why}"),
        }
    }
}

/// A sandbox in whose search path nothing does any harm.
struct Place {
    attack: Attack,
    timeout: PathBuf,
}

impl Place {
    fn new() -> Self {
        let attack = Attack::new();
        let bin = attack.sandbox.work().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in ["true", "false"] {
            symlink(found(program), bin.join(program)).unwrap();
        }
        Self { attack, timeout: found("timeout") }
    }

    /// Runs the program, and checks what is true of every call.
    fn check(&self, call: &Call) -> Output {
        let waits = call.arguments.iter().any(|argument| {
            matches!(argument.as_bytes(), b"--wait" | b"-wait" | b"--wait=true" | b"-wait=true")
        });
        // A waiter may wait for ever; asked to go, it goes.
        let limit = if waits { "2" } else { "20" };
        let mut command = self.attack.sandbox.command(&self.timeout);
        command.args(["-k", "20", limit]).arg(env!("CARGO_BIN_EXE_lokt-under-test")).args(&call.arguments);
        command.env("PATH", self.attack.sandbox.work().join("bin"));
        command.envs(call.environment.iter().map(|(name, value)| (name, value)));
        let output = output(&mut command);

        let says = |code: i32| matches!(code, 0..=5 | 7 | 64 | 126 | 127) || (waits && code == 124);
        assert!(says(output.code), "hangs, panics, or ends as nobody said: {call:?}: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{call:?}: {output:?}");
        let obeyed = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!output.stdout.contains(obeyed) && !output.stderr.contains(obeyed), "{call:?}: {output:?}");
        assert!(output.stderr.lines().all(|line| line.starts_with("lokt: ")), "{call:?}: {output:?}");
        // Of a switch that is set to `false` in Go's way nothing is left, and of no arguments comes the help.
        let nothing = call.arguments.iter().all(|argument| argument.as_bytes().ends_with(b"=false"));
        if output.code == 64 && !nothing {
            let lines = output.stderr.lines().filter(|line| !line.starts_with("lokt: hint: ")).count();
            assert_eq!((lines, output.stdout.as_str()), (1, ""), "one clear line: {call:?}: {output:?}");
            assert!(output.stderr.len() < 2000, "one line, not a page: {call:?}: {output:?}");
        }
        self.attack.expect_untouched_beside(&self.attack.sandbox.work());
        output
    }
}

/// Where a program is.
fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file()).unwrap()
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn name() -> impl Strategy<Value = Vec<OsString>> {
    select(&NAMES[..]).prop_map(|name| words(&[name]))
}

/// A mistake: words that have no place in any command.
fn mistake() -> impl Strategy<Value = Vec<OsString>> {
    let raw = vec(any::<u8>().prop_filter("C strings end there", |byte| *byte != 0), 1..10).prop_map(
        |mut bytes| {
            bytes.insert(0, b'/');
            vec![OsString::from_vec(bytes)]
        },
    );
    prop_oneof![5 => select(&FAULTS[..]).prop_map(words), 1 => raw]
}

/// One of these options, or none.
fn options(all: &'static [&'static [&'static str]]) -> impl Strategy<Value = Vec<OsString>> {
    vec(select(all), 0..4).prop_map(|some| some.concat()).prop_map(|some| words(&some))
}

/// A call that makes sense.
fn proper() -> impl Strategy<Value = Vec<OsString>> {
    const WANTED: &[&[&str]] = &[
        &["--ttl", "5m"],
        &["--ttl=1.5h"],
        &["-ttl", "2s"],
        &["--wait", "--timeout", "20ms"],
        &["--break-stale"],
        &["--note", "\u{1b}[2J"],
        &["--note="],
    ];
    const LOCK: &[&[&str]] = &[&["--json"], &["--ttl", "1ns"], &["--ttl", "0s"]];
    const GUARD: &[&[&str]] = &[
        &["--on-lost", "warn"],
        &["--on-lost=kill"],
        &["--kill-after", "0s"],
        &["--kill-after", "1h"],
        &["--conflict-exit-code", "7"],
    ];
    const GUARDED: [&[&str]; 6] =
        [&["true"], &["false"], &["true", "--json=true", "-ttl"], &["no-such"], &["/"], &["/dev/null"]];
    const UNLOCK: [&[&str]; 8] = [
        &["x"],
        &["y", "--force"],
        &["x", "--force"],
        &["x", "--break-stale"],
        &["x", "--lock-id", "00112233445566778899aabbccddeeff"],
        &["--owner", "tester"],
        &["--owner", "\u{202e}"],
        &["--all"],
    ];
    const JSON: &[&[&str]] = &[&["--json"], &["-json"], &["--json=true"], &["--json=false"]];
    const RENEW: &[&[&str]] = &[&["--ttl", "5m"], &["--json"]];
    const STATUS: &[&[&str]] = &[&["--json"], &["--prune-expired"], &["x"]];
    let join = |parts: Vec<Vec<OsString>>| parts.concat();
    let command = |command: &'static str| Just(words(&[command]));
    prop_oneof![
        3 => (command("lock"), name(), options(WANTED), options(LOCK))
            .prop_map(move |(a, b, c, d)| join(vec![a, b, c, d])),
        3 => (command("guard"), options(WANTED), name(), options(GUARD), select(&GUARDED[..]))
            .prop_map(move |(a, b, c, d, e)| join(vec![a, b, c, d, words(&["--"]), words(e)])),
        3 => (command("unlock"), select(&UNLOCK[..]), options(JSON))
            .prop_map(move |(a, b, c)| join(vec![a, words(b), c])),
        1 => (command("renew"), name(), options(RENEW)).prop_map(move |(a, b, c)| join(vec![a, b, c])),
        1 => (command("status"), of(select(STATUS)), options(&JSON[..1]))
            .prop_map(move |(a, b, c)| join(vec![a, words(b.unwrap_or_default()), c])),
        1 => (command("why"), name(), options(JSON)).prop_map(move |(a, b, c)| join(vec![a, b, c])),
        1 => (command("exists"), name()).prop_map(move |(a, b)| join(vec![a, b])),
    ]
}

fn odd() -> impl Strategy<Value = OsString> {
    prop_oneof![
        8 => select(&ODD[..]).prop_map(|bytes| OsStr::from_bytes(bytes).to_owned()),
        1 => vec(128..=255_u8, 1..20).prop_map(OsString::from_vec),
        1 => (1..100_000_usize).prop_map(|length| OsString::from("x".repeat(length))),
    ]
}

/// Words in any order, mostly after a command.
fn soup() -> impl Strategy<Value = Vec<OsString>> {
    let known = |some: &'static [&'static str]| select(some).prop_map(OsString::from);
    let word = prop_oneof![
        4 => known(&OPTIONS),
        3 => known(&NAMES),
        2 => known(&VALUES),
        1 => known(&COMMANDS),
        2 => odd(),
    ];
    (of(known(&COMMANDS)), vec(word, 0..8))
        .prop_map(|(command, words)| command.into_iter().chain(words).collect())
}

fn environment() -> impl Strategy<Value = Vec<(&'static str, OsString)>> {
    let root = select(&ROOTS[..]).prop_map(|root| ("LOKT_ROOT", OsStr::from_bytes(root).to_owned()));
    let variable = prop_oneof![1 => root, 3 => (select(&VARIABLES[..]), odd())];
    vec(variable, 0..4)
}
