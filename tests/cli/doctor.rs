//! `lokt doctor`: a healthy root, and every finding.

use super::transcript::{check, sandbox, sh};
use crate::schema::validate;
use lokt_tests::sandbox::{Lack, Output, Sandbox, output, skipped};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Every check, in order.
pub const CHECKS: [&str; 19] = [
    "root",
    "writable",
    "filesystem",
    "flock",
    "access",
    "files",
    "space",
    "audit_log",
    "clock",
    "mutexes",
    "versions",
    "records",
    "stale_records",
    "corrupt_records",
    "freezes",
    "legacy_freezes",
    "sessions",
    "lines",
    "temporary_files",
];

const ID: &str = "0123456789abcdef0123456789abcdef";

/// What the doctor says of a root, as JSON that its schema allows, and its exit code as it must be then.
#[track_caller]
pub fn examined(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let mut all = vec!["doctor", "--json"];
    all.extend(arguments);
    told(&sandbox.run(all))
}

#[track_caller]
fn told(output: &Output) -> Value {
    let found = validate("doctor", &output.stdout);
    let names: Vec<&str> = checks(&found).iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, CHECKS);
    assert_eq!(output.code, i32::from(found["overall"] == "fail"), "{output:?}");
    assert_eq!(output.stderr, "");
    found
}

pub fn checks(found: &Value) -> &Vec<Value> {
    found["checks"].as_array().unwrap()
}

/// One check.
pub fn of<'a>(found: &'a Value, name: &str) -> &'a Value {
    checks(found).iter().find(|check| check["name"] == name).unwrap()
}

/// The names of the checks that are not ok.
pub fn wrong(found: &Value) -> Vec<&str> {
    let all = checks(found).iter().filter(|check| check["status"] != "ok");
    all.map(|check| check["name"].as_str().unwrap()).collect()
}

/// Everything in the sandbox, with what a look could change.
fn everything(sandbox: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![sandbox.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let (path, meta) = (entry.path(), fs::symlink_metadata(entry.path()).unwrap());
            found.push(format!("{} {:o} {}", path.display(), meta.mode(), meta.ino()));
            if meta.is_dir() {
                dirs.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A root in which a lock was taken and released.
fn used() -> Sandbox {
    let sandbox = sandbox();
    assert_eq!(sh(&sandbox, "lokt lock x && lokt unlock x").code, 0);
    sandbox
}

#[test]
fn a_healthy_root_is_well() {
    let sandbox = used();
    assert_eq!(sh(&sandbox, "lokt lock held --ttl 5m").code, 0);
    let found = examined(&sandbox, &[]);
    assert_eq!(wrong(&found), [""; 0], "{found:#}");
    assert_eq!((found["protocol_version"].as_u64(), found["overall"].as_str()), (Some(1), Some("ok")));
    assert_eq!(found["root_path"], sandbox.root().to_str().unwrap());
    assert!(of(&found, "records")["message"].as_str().unwrap().starts_with("1 held"), "{found:#}");
    let text = sandbox.run(["doctor"]);
    assert_eq!(text.code, 0);
    assert_eq!(text.stdout.lines().filter(|line| line.starts_with("[OK]   ")).count(), CHECKS.len());
    assert!(text.stdout.ends_with("\nResult: all is well\n"), "{text:?}");
    assert!(text.stdout.is_ascii(), "what is no terminal gets no more than ASCII: {text:?}");
}

#[test]
fn a_look_makes_no_root_and_leaves_nothing_behind() {
    let sandbox = sandbox();
    let before = everything(&sandbox);
    for arguments in [&[][..], &["--fix"]] {
        let found = examined(&sandbox, arguments);
        assert_eq!(wrong(&found), [""; 0], "{found:#}");
        let said = of(&found, "root")["message"].as_str().unwrap();
        assert!(said.ends_with("the first lock makes it"), "{said}");
        assert_eq!(everything(&sandbox), before);
    }
    let mut deep = sandbox.lokt(["doctor", "--json"]);
    let found = told(&output(deep.env("LOKT_ROOT", sandbox.path().join("a/b/c"))));
    assert_eq!((wrong(&found), everything(&sandbox)), (vec![], before));
}

#[test]
fn what_a_doctor_has_left_beside_the_root_the_next_one_removes_and_nothing_else() {
    for sandbox in [sandbox(), used()] {
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let (gone, me) = (gone.id(), std::process::id());
        let name = |pid: u32, number: u32| format!(".lokt-doctor.{pid}.{number}");
        let script = format!(
            "cd ..; mkdir -p target {left} {full} {young} {alive} {foreign} {dir} .lokt-doctor.{gone}.8.bak .lokt-doctor.0{gone}.1
            touch {full}/.doctor-made.{gone}.2 target/kept {file} {foreign}/.doctor.{gone}.1.bak; mkfifo {full}/.doctor.{gone}.1
            ln -s ../target/kept {full}/.doctor.{gone}.7; mkdir {dir}/.doctor.{gone}.1; ln -s target {link}
            touch -h -d '1 hour ago' .lokt-doctor.*; touch {young}",
            left = name(gone, 1),
            full = name(gone, 2),
            young = name(gone, 3),
            alive = name(me, 4),
            foreign = name(gone, 5),
            dir = name(gone, 6),
            file = name(gone, 7),
            link = name(gone, 8),
        );
        assert_eq!(sh(&sandbox, &script).code, 0);
        let mut before = everything(&sandbox);
        let found = examined(&sandbox, &[]);
        let paths = [1, 2].map(|number| format!("{}/{}", sandbox.path().display(), name(gone, number)));
        let fixed: Vec<&str> = of(&found, "temporary_files")["fixed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        assert_eq!(fixed.len(), 2, "{fixed:?}");
        assert!(paths.iter().all(|path| fixed.contains(&&*format!("removed {path}"))), "{fixed:?}");
        assert_eq!(found["overall"], "ok", "{found:#}");
        before.retain(|line| {
            let is_of = |path: &String| {
                line.starts_with(&format!("{path} ")) || line.starts_with(&format!("{path}/"))
            };
            !paths.iter().any(is_of)
        });
        assert_eq!(everything(&sandbox), before);
        assert!(
            of(&examined(&sandbox, &["--fix"]), "temporary_files").get("fixed").is_none(),
            "nothing is left"
        );
    }
}

#[test]
fn a_look_changes_nothing_in_a_root() {
    let sandbox = used();
    let script = format!(
        "export LOKT_NO_SWEEP=1; cd $LOKT_ROOT; lokt lock gone --ttl 1ms; mkdir -p lines/none freezes; mkfifo sessions/y.{ID}
        echo x >locks/corrupt.json; touch -d '1 hour ago' locks/corrupt.json; touch stripes/05.tmp
        echo x >freezes/z.json; touch -d '1 hour ago' freezes/z.json"
    );
    assert_eq!(sh(&sandbox, &script).code, 0);
    let before = everything(&sandbox);
    let found = examined(&sandbox, &[]);
    let kinds = ["stale_records", "corrupt_records", "freezes", "sessions", "lines", "temporary_files"];
    assert_eq!(wrong(&found), kinds, "{found:#}");
    assert_eq!(everything(&sandbox), before);
}

/// A script that plants something, the check that must tell of it, how, and in which words.
const FINDINGS: [(&str, &str, &str, &str); 23] = [
    ("touch 'locks/no record'", "files", "warn", "locks/no record: a file that lokt did not put there"),
    ("mkfifo stripes/zz", "files", "warn", "stripes/zz: a FIFO"),
    ("touch sessions/x", "files", "warn", "sessions/x: a file"),
    ("mkdir -p lines; ln -s / lines/x", "files", "warn", "lines/x: a symbolic link"),
    ("ln -s / locks/x.json", "records", "fail", "is a symbolic link"),
    ("mkfifo locks/x.json", "records", "fail", "is a FIFO"),
    ("mkdir locks/x.json", "records", "fail", "is a directory"),
    ("rm -r sessions; ln -s /tmp sessions", "records", "fail", "sessions is a symbolic link"),
    ("echo '{\"version\":9}' >locks/x.json", "records", "warn", "version 9"),
    ("lokt lock x --ttl 1ms", "stale_records", "warn", "its TTL has passed"),
    (
        "lokt guard x -- sh -c 'kill -9 $PPID'; until lokt why x | grep -q STALE; do :; done",
        "stale_records",
        "warn",
        "it is dead",
    ),
    ("sleep 9 & lokt lock x --pid $!; kill $!; wait", "stale_records", "warn", "its process is gone"),
    ("echo x >locks/x.json; touch -d '1 hour ago' locks/x.json", "corrupt_records", "warn", "expected value"),
    (
        "mkdir -p freezes; echo x >freezes/x.json; touch -d '1 hour ago' freezes/x.json",
        "freezes",
        "warn",
        "corrupt",
    ),
    ("mkdir -p freezes; mkfifo freezes/x.json", "freezes", "warn", "can't be read, and so is frozen"),
    ("mkdir -p lines/x", "lines", "warn", "lines/x"),
    ("mkfifo sessions/x.0123456789abcdef0123456789abcdef", "sessions", "warn", "sessions/x.0123"),
    ("touch stripes/3f.tmp", "temporary_files", "warn", "stripes/3f.tmp"),
    ("rm audit.log; mkfifo audit.log", "audit_log", "warn", "is a FIFO"),
    ("mkdir audit.log.3", "audit_log", "warn", "not be rotated"),
    ("chmod 777 .", "access", "warn", "every user of this machine may remove"),
    ("chmod 770 .", "access", "warn", "without setgid"),
    ("chmod 722 locks", "access", "warn", "what stands in locks/"),
];

#[test]
fn whatever_is_planted_is_seen_and_something_is_to_be_done_about_it() {
    for (script, name, status, words) in FINDINGS {
        let sandbox = used();
        let planted = sh(&sandbox, &format!("export LOKT_NO_SWEEP=1; cd $LOKT_ROOT; {script}"));
        let found = examined(&sandbox, &[]);
        let check = of(&found, name);
        assert_eq!(check["status"], status, "{script}: {planted:?}: {found:#}");
        assert!(check.to_string().contains(words), "{script}: {words}: {check:#}");
        assert!(check["advice"].is_array(), "{script}: {check:#}");
        let text = sandbox.run(["doctor"]).stdout;
        let mark = if status == "fail" { "[FAIL] " } else { "[WARN] " };
        let line =
            text.lines().position(|line| line.starts_with(mark) && line.contains(&name.replace('_', " ")));
        let below = text.lines().skip(line.unwrap_or_else(|| panic!("{script}: {text}")) + 1);
        let own: Vec<&str> = below.take_while(|line| line.starts_with("     ")).collect();
        assert!(own.iter().any(|line| line.starts_with("         -> ")), "{script}: {text}");
    }
}

#[test]
fn a_log_that_was_rotated_is_lokts_own_doing() {
    let sandbox = sandbox();
    let mut guard = sandbox.lokt(["guard", "x", "--", "true"]);
    assert_eq!(output(guard.env("LOKT_AUDIT_MAX_BYTES", "1")).code, 0);
    assert!(sandbox.root().join("audit.log.1").exists(), "it was rotated");
    assert_eq!(wrong(&examined(&sandbox, &[])), [""; 0]);
}

#[test]
fn a_record_or_a_freeze_of_the_go_tool_is_named() {
    let sandbox = used();
    let record = |expires: &str| {
        format!(
            r#"{{"version":1,"name":"x","owner":"ada","host":"other","pid":7,"acquired_ts":"2026-01-01T00:00:00Z",
            "ttl_sec":60,"expires_at":"{expires}"}}"#
        )
    };
    sandbox.plant("of-go", record("2090-01-01T00:00:00Z"));
    sandbox.plant("freeze-now", record("2090-01-01T00:00:00Z"));
    sandbox.plant("freeze-once", record("2020-01-01T00:00:00Z"));
    let found = examined(&sandbox, &[]);
    assert_eq!(wrong(&found), ["versions", "legacy_freezes"], "{found:#}");
    assert_eq!(of(&found, "versions")["items"], serde_json::json!(["\"of-go\""]));
    let freezes = of(&found, "legacy_freezes");
    assert_eq!(freezes["message"], "2 freezes in the Go tool's old place, locks/freeze-NAME.json");
    assert!(freezes["items"][0].as_str().unwrap().starts_with("\"now\": "), "{freezes:#}");
    assert_eq!(freezes["items"][1], "\"once\": it has lapsed");
}

#[test]
fn a_mutex_that_is_held_for_long_is_named_with_its_holder() {
    let sandbox = used();
    let stripe = fs::read_dir(sandbox.root().join("stripes")).unwrap().next().unwrap().unwrap();
    let file = fs::File::open(stripe.path()).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let found = examined(&sandbox, &[]);
    let mutexes = of(&found, "mutexes");
    assert_eq!((mutexes["status"].as_str(), found["overall"].as_str()), (Some("fail"), Some("fail")));
    let said = mutexes["items"][0].as_str().unwrap();
    let me = format!("stripes/{}: process {}", stripe.file_name().display(), std::process::id());
    assert!(said.starts_with(&me), "{said}");
}

#[test]
fn a_root_that_can_be_none_fails_and_what_needs_it_is_left_out() {
    let sandbox = sandbox();
    fs::write(sandbox.work().join("file"), "").unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", sandbox.work().join("dangling")).unwrap();
    let before = everything(&sandbox);
    for (root, said) in [
        ("file", "file is not a directory"),
        ("file/below", "Not a directory"),
        ("/dev/null", "/dev/null is not a directory"),
        ("dangling", "a symbolic link to nowhere"),
        (&"x".repeat(300), "File name too long"),
    ] {
        let found = told(&output(sandbox.lokt(["doctor", "--json", "--fix"]).env("LOKT_ROOT", root)));
        let message = of(&found, "root")["message"].as_str().unwrap();
        assert!(message.contains(said), "{root}: {message}");
        assert_eq!(of(&found, "writable")["status"], "fail", "{root}");
        let skipped: Vec<_> = checks(&found).iter().filter(|check| check["skipped"] == true).collect();
        assert!(skipped.len() > 12, "{root}: {found:#}");
    }
    assert_eq!(everything(&sandbox), before);
}

#[test]
fn it_says_how_the_root_was_found() {
    let sandbox = used();
    let found = |change: &dyn Fn(&mut Command)| {
        let mut command = sandbox.lokt(["doctor", "--json"]);
        change(&mut command);
        let found = told(&output(&mut command));
        let root = of(&found, "root");
        (found["root_method"].as_str().unwrap().to_owned(), root["status"].as_str().unwrap().to_owned())
    };
    let of = |method: &str, status: &str| (method.to_owned(), status.to_owned());
    assert_eq!(found(&|_| {}), of("env", "ok"));
    assert_eq!(
        found(&|command| {
            command.env("LOKT_ROOT", "../root");
        }),
        of("env", "warn")
    );
    assert_eq!(
        found(&|command| {
            command.env_remove("LOKT_ROOT");
        }),
        of("local", "ok")
    );
    fs::write(sandbox.work().join(".git"), "junk").unwrap();
    assert_eq!(
        found(&|command| {
            command.env_remove("LOKT_ROOT");
        }),
        of("unknown", "fail")
    );
    fs::remove_file(sandbox.work().join(".git")).unwrap();
    for part in ["objects", "refs"] {
        fs::create_dir_all(sandbox.work().join(".git").join(part)).unwrap();
    }
    fs::write(sandbox.work().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
    assert_eq!(
        found(&|command| {
            command.env_remove("LOKT_ROOT");
        }),
        of("git", "ok")
    );
}

#[test]
fn what_makes_no_sense_is_said() {
    check(
        &sandbox(),
        r#"
        $ lokt doctor x
        ! lokt: unexpected argument "x"
        ! lokt: hint: see lokt doctor --help
        = 64
        $ lokt doctor --fixx
        ! lokt: unknown option "--fixx"
        ! lokt: hint: did you mean --fix?
        = 64
        $ lokt doctor --help | grep -c rival
        0
        = 1
        "#,
    );
}

/// The doctor where flock(2) is another one, written in C; `None` if it can't be put in its place.
fn with_flock(body: &str) -> Option<Value> {
    let sandbox = used();
    let (source, library) = (sandbox.path().join("flock.c"), sandbox.path().join("flock.so"));
    let text = format!(
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <fcntl.h>\n#include <string.h>\n\
         #include <sys/syscall.h>\n#include <unistd.h>\n{SECOND}\nint flock(int fd, int op) {{ {body} }}\n"
    );
    fs::write(&source, text).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if !built.is_ok_and(|status| status.success()) {
        skipped(Lack::behind("cc"), "there is no C compiler");
        return None;
    }
    Some(told(&output(sandbox.lokt(["doctor", "--json"]).env("LD_PRELOAD", library))))
}

/// As flock(2), but for the second process, which it lets wait for ever.
const HANGS_IN_THE_SECOND: &str = "if (second()) pause(); return syscall(SYS_flock, fd, op);";

/// As flock(2), but what the second process takes stays taken for a while after its end.
const OUTLIVES_THE_SECOND: &str = "
    int result = syscall(SYS_flock, fd, op);
    if (!result && second() && !fork()) {
        close(0); close(1); close(2);
        sleep(5);
        _exit(0);
    }
    return result;
";

/// Whether the process is the one that the doctor starts for its trial.
const SECOND: &str = r#"
static int second(void) {
    char line[4096];
    int file = open("/proc/self/cmdline", O_RDONLY);
    ssize_t length = read(file, line, sizeof line);
    close(file);
    for (ssize_t at = 0; at + 7 < length; at++)
        if (!memcmp(line + at, "--rival", 7)) return 1;
    return 0;
}
"#;

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_flock_that_does_not_exclude_fails() {
    for (body, said) in [
        ("return 0;", "what one process holds, another gets too"),
        ("errno = EWOULDBLOCK; return -1;", "a lock that nobody holds is refused"),
        ("errno = ENOLCK; return -1;", "No locks available"),
        (HANGS_IN_THE_SECOND, "gets no answer"),
        (OUTLIVES_THE_SECOND, "what a killed process held stays locked"),
    ] {
        let Some(found) = with_flock(body) else { return };
        let check = of(&found, "flock");
        assert_eq!(check["status"], "fail", "{body}: {check:#}");
        assert!(check["message"].as_str().unwrap().contains(said), "{body}: {check:#}");
        assert!(check["advice"][0].as_str().unwrap().contains("LOKT_ROOT"), "{check:#}");
    }
}
