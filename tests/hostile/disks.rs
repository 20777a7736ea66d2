//! Full disks and read-only ones. They are mounted in a namespace of their own, for which one must be root.

use super::attack::Attack;
use lokt_tests::sandbox::{Lack, Output, output, skipped};

/// Runs a script with a file system of 64 KiB in `$DISK`, which has the root in it; `None` without the right to.
fn on_small_disk(attack: &Attack, script: &str) -> Option<Output> {
    let setup = "mkdir -p disk && mount -t tmpfs -o size=64k none disk || exit 199\n\
        export DISK=$PWD/disk LOKT_ROOT=$PWD/disk/root\n\
        lokt() { timeout 20 \"$LOKT\" \"$@\"; }\n\
        fill() { dd if=/dev/zero of=$DISK/fill bs=4096 count=${1:-100} 2>/dev/null; }\n";
    let mut command = attack.sandbox.command("unshare");
    command.args(["-m", "sh", "-c", &format!("{setup}{script}")]);
    let output = output(&mut command);
    if output.code == 199 || output.stderr.contains("unshare failed") {
        skipped(Lack::Machine, &format!("only root may mount a small disk: {}", output.stderr));
        return None;
    }
    assert!(!output.stderr.contains("panicked"), "{output:?}");
    Some(output)
}

#[test]
fn on_a_full_disk_a_lock_fails_and_leaves_nothing_and_an_earlier_one_can_be_released() {
    let attack = Attack::new();
    let script = "lokt lock earlier && fill
        for command in 'lock x' 'guard x -- echo ran' 'lock x --wait --timeout 1s'; do
            lokt $command; echo \"$command: $?\"
        done
        ls $LOKT_ROOT/locks $LOKT_ROOT/sessions; ls $LOKT_ROOT/stripes | grep tmp
        lokt status | cut -c1-8
        lokt unlock earlier; echo $?
        rm $DISK/fill; lokt lock x";
    let Some(output) = on_small_disk(&attack, script) else {
        return;
    };
    let root = attack.sandbox.work().join("disk/root");
    let said = output.stdout.replace(root.to_str().unwrap(), "ROOT");
    assert_eq!(
        said,
        "acquired lock \"earlier\"\nlock x: 1\nguard x -- echo ran: 1\nlock x --wait --timeout 1s: 1\n\
         ROOT/locks:\nearlier.json\n\nROOT/sessions:\nearlier \nreleased lock \"earlier\"\n0\nacquired lock \"x\"\n",
        "{output:?}"
    );
    let full = output.stderr.matches("No space left on device").count();
    let hints = output.stderr.matches("hint: make room there").count();
    assert_eq!((full, hints), (3, 3), "{output:?}");
}

#[test]
fn with_any_little_room_left_a_lock_is_taken_whole_or_not_at_all() {
    let attack = Attack::new();
    let script = "lokt lock earlier >/dev/null
        for room in 0 1 2 3 4 5 6 7 8; do
            rm -f $DISK/fill; fill $(( $(stat -f -c %a $DISK) - room ))
            for name in a$room b$room c$room; do
                if lokt lock $name >/dev/null 2>err; then
                    lokt status $name --json >/dev/null || echo \"$name: not whole\"
                    lokt lock $name >/dev/null 2>&1; [ $? = 2 ] || echo \"$name: not held\"
                    lokt unlock $name >/dev/null || echo \"$name: not released\"
                else
                    test -e $LOKT_ROOT/locks/$name.json && echo \"$name: half\"
                    grep -q 'No space left' err || cat err
                fi
                ls $LOKT_ROOT/sessions; ls $LOKT_ROOT/stripes | grep tmp
            done
        done; rm -f $DISK/fill; lokt unlock earlier";
    if let Some(output) = on_small_disk(&attack, script) {
        assert_eq!(output.stdout, "released lock \"earlier\"\n", "{output:?}");
    }
}

#[test]
fn a_guard_on_a_disk_that_fills_up_still_ends_and_releases() {
    let attack = Attack::new();
    let script = "lokt guard x -- sh -c 'dd if=/dev/zero of=$DISK/fill bs=4096 count=100 2>/dev/null; exit 7'
        echo $?; ls $LOKT_ROOT/locks $LOKT_ROOT/sessions | grep -e json -e 'x\\.'; lokt exists x; echo $?";
    if let Some(output) = on_small_disk(&attack, script) {
        assert_eq!(output.stdout, "7\n3\n", "{output:?}");
    }
}

#[test]
fn a_lease_is_renewed_on_a_full_disk_and_its_command_goes_on() {
    let attack = Attack::new();
    // Ten renewals, so that their number comes to have one digit more; then there is room again.
    let command = "record=$LOKT_ROOT/locks/x.json
        await() { until [ \"0$(sed -n 's/.*\"renewals\": *//p' $record)\" -ge $1 ]; do sleep 0.1; done; }
        await 1; dd if=/dev/zero of=$DISK/fill bs=4096 count=100 2>/dev/null
        file=$(stat -c %i $record)
        await 11; \"$LOKT\" status x; test $(stat -c %i $record) = $file && echo 'written where it stands'
        rm $DISK/fill; await 13; test $(stat -c %i $record) = $file || echo 'replaced'";
    let script = format!("lokt guard x --ttl 1s -- sh -c '{}'; echo $?", command.replace('\'', "'\\''"));
    let Some(output) = on_small_disk(&attack, &script) else {
        return;
    };
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(output.stdout.contains("(alive)"), "the record is whole: {output:?}");
    let [.., written, replaced, code] = lines[..] else { panic!("{output:?}") };
    assert_eq!([written, replaced, code], ["written where it stands", "replaced", "0"], "{output:?}");
}

#[test]
fn what_a_full_disk_keeps_from_the_log_is_said_and_the_next_event_is_whole() {
    let attack = Attack::new();
    // A denial writes nothing but its event; after a page of them there is room for a part of one only.
    let script = "lokt lock earlier >/dev/null; fill
        for i in $(seq 40); do lokt lock earlier --ttl ${i}s 2>&1 | grep -c 'not in the audit log'; done | sort | uniq -c
        rm $DISK/fill; lokt lock earlier --ttl 41s 2>/dev/null
        tail -c 600 $LOKT_ROOT/audit.log | tail -n 1 | grep -c '^{.*\"ttl_sec\":41,.*}$'
        lokt audit --since 1h --event deny | grep -c '^{.*}$'";
    if let Some(output) = on_small_disk(&attack, script) {
        let numbers: Vec<usize> =
            output.stdout.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [written, 0, lost, 1, 1, read] = numbers[..] else { panic!("{output:?}") };
        assert_eq!(written + lost, 40, "each is in the log, or it is said: {output:?}");
        assert_eq!(read, written + 1, "{output:?}");
        assert!(lost > 20, "the disk was full: {output:?}");
        let half = "lokt: left out a line of the audit log that is no event\n";
        assert_eq!(output.stderr, half, "a part of an event stands on a line of its own");
    }
}

#[test]
fn a_limit_to_the_size_of_files_ends_no_command_in_the_middle() {
    let attack = Attack::new();
    // Enough denials for a log that is larger than the limit, 4 KiB.
    let script = "for i in $(seq 30); do \"$LOKT\" lock x >>said 2>&1; done
        for command in 'lock y' 'unlock x' 'freeze f --ttl 1h' 'unfreeze f'; do
            (ulimit -f 4; timeout 20 \"$LOKT\" $command 2>&1; echo $?) | cat
        done";
    let output = output(attack.sandbox.command("bash").args(["-c", script]));
    let said: Vec<&str> = output.stdout.lines().filter(|line| !line.starts_with("lokt: warning")).collect();
    let expected = "acquired lock \"y\" 0 released lock \"x\" 0 frozen \"f\" for 1h0m0s 0 unfrozen \"f\" 0";
    assert_eq!(said.join(" "), expected, "{output:?}");
    let warnings = output.stdout.matches("is not in the audit log").count();
    assert_eq!(warnings, 4, "{output:?}");
}

#[test]
fn too_few_open_files_are_said_to_be_that_and_nothing_of_the_lock() {
    let attack = Attack::new();
    attack.fresh_root();
    let limit = "lokt() { (ulimit -n $files; exec \"$LOKT\" \"$@\"); }";
    let mut short = 0;
    for (command, undo) in [
        ("guard x -- true", "true"),
        ("freeze x --ttl 1m", "unfreeze x"),
        ("why x", "true"),
        ("unlock x", "true"),
    ] {
        for files in 4..24 {
            let output = attack.sandbox.sh(&format!("files={files}; {limit}; lokt {command}"));
            if output.code == 0 {
                let _ = attack.run(undo);
            }
            let said = format!("{}{}", output.stdout, output.stderr);
            if !said.contains("Too many open files") || !matches!(output.code, 1 | 2) {
                continue;
            }
            short += 1;
            assert!(output.code == 1 || command == "why x", "{command}, {files}: {output:?}");
            let hint = "nothing is wrong with the lock: allow this process more open files (ulimit -n)";
            assert!(said.contains(hint), "{command}, {files}: {output:?}");
            for wrong in ["not its own", "unfreeze", "wait for", "LOKT_ROOT"] {
                assert!(!said.contains(wrong), "{command}, {files}: {wrong}: {output:?}");
            }
        }
    }
    assert!(short > 8, "{short}");
}

#[test]
fn on_a_read_only_disk_one_can_look_but_not_lock() {
    let attack = Attack::new();
    let script = "lokt lock earlier && mount -o remount,ro $DISK
        for command in 'lock x' 'guard x -- echo ran' 'lock x --wait --timeout 5s' 'unlock earlier' 'renew earlier --ttl 5m'; do
            lokt $command; echo \"$command: $?\"
        done
        lokt status | cut -c1-7; lokt why x; lokt exists earlier; echo $?";
    let Some(output) = on_small_disk(&attack, script) else {
        return;
    };
    assert_eq!(
        output.stdout,
        "acquired lock \"earlier\"\nlock x: 1\nguard x -- echo ran: 1\nlock x --wait --timeout 5s: 1\nunlock earlier: 1\n\
         renew earlier --ttl 5m: 1\nearlier\nLock \"x\" is FREE — acquisition would succeed.\n0\n",
        "{output:?}"
    );
    assert_eq!(output.stderr.matches("Read-only file system").count(), 5, "{output:?}");
    assert!(output.stderr.contains("disk/root/"), "it names the place: {output:?}");
    for (said, times) in [("lock \"x\"", 3), ("release \"earlier\"", 1), ("renew \"earlier\"", 1)] {
        let found = output.stderr.matches(&format!("failed to {said}: ")).count();
        assert_eq!(found, times, "{said}: {output:?}");
    }
}

#[test]
fn a_full_disk_is_named() {
    let attack = Attack::new();
    let Some(output) = on_small_disk(&attack, "lokt lock earlier >/dev/null; fill; lokt lock x") else {
        return;
    };
    assert!(output.stderr.contains("disk/root/"), "{output:?}");
}

#[test]
fn the_doctor_tells_of_a_full_disk_and_of_one_that_is_read_only() {
    let attack = Attack::new();
    let script = "lokt lock earlier >/dev/null; mkdir $LOKT_ROOT/lines $LOKT_ROOT/lines/x
        fill; lokt doctor --fix | cut -c1-70; rm $DISK/fill; mkdir $LOKT_ROOT/lines/y
        mount -o remount,ro $DISK; lokt doctor --fix; echo $?; ls $LOKT_ROOT/stripes";
    let Some(output) = on_small_disk(&attack, script) else {
        return;
    };
    let (full, read_only) = output.stdout.split_once("Result: ").unwrap();
    for line in ["[FAIL] writable", "[WARN] space            only room for 0 bytes"] {
        assert!(full.contains(line), "{line}: {full}");
    }
    assert!(full.contains("No space left on device") || full.contains("-> make room there"), "{full}");
    assert!(full.contains("fixed: removed lines/x"), "what takes no room is cleared away: {full}");
    for line in [
        "[FAIL] writable",
        "Read-only file system",
        "[WARN] flock            it could not be tried",
        "[WARN] lines            1 line with waiters that are dead",
        "Result: nothing to clear away, 1 failed",
        "\n1\n",
    ] {
        assert!(read_only.contains(line), "{line}: {read_only}");
    }
    assert!(!read_only.contains(".tmp"), "{read_only}");
}

/// A rename leads nowhere else, within one file system neither, if that is mounted twice.
#[test]
fn a_part_of_the_root_that_is_mounted_from_elsewhere_makes_a_clear_error_and_the_doctor_finds_it() {
    let attack = Attack::new();
    let script = "lokt freeze other --ttl 1h >/dev/null; lokt lock held --slots 2 >/dev/null
        lokt lock x >/dev/null; mkdir -m 700 $LOKT_ROOT/lines
        for part in locks holders freezes sessions lines; do
            echo == $part; mkdir -m 700 $DISK/$part 2>/dev/null; mount --bind $DISK/$part $LOKT_ROOT/$part
            lokt doctor; echo doctor: $?
            case $part in
                freezes) lokt freeze f --ttl 1s;;
                holders) lokt lock several --slots 2;;
                *) lokt guard x --wait -- echo ran;;
            esac 2>&1; echo failed: $?
            umount $LOKT_ROOT/$part
        done
        find $LOKT_ROOT -name '.*'; lokt unlock x; lokt guard x --wait -- echo ran; lokt doctor >/dev/null; echo doctor: $?";
    let Some(output) = on_small_disk(&attack, script) else { return };
    let parts: Vec<&str> = output.stdout.split("== ").skip(1).collect();
    assert_eq!(parts.len(), 5, "{output:?}");
    for said in &parts {
        for line in [
            "[FAIL] writable",
            "-> all of it has to be",
            "doctor: 1\n",
            "hint: all of the lock",
            "failed: 1\n",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        let place = format!("disk/root/{}/", said.lines().next().unwrap());
        assert_eq!(said.matches(&place).count(), 2, "{said}");
        assert_eq!(said.matches("Invalid cross-device link").count(), 2, "{said}");
    }
    assert!(parts[4].ends_with("released lock \"x\"\nran\ndoctor: 0\n"), "{}", parts[4]);
}

#[test]
fn on_a_file_system_that_is_a_program_a_crash_frees_the_lock_too() {
    let attack = Attack::new();
    let script = "mkdir src mnt && bindfs src mnt || exit 199
        export LOKT_ROOT=$PWD/mnt/root
        \"$LOKT\" guard x -- sh -c 'kill -KILL $PPID; exec sleep 1000'
        timeout 20 \"$LOKT\" guard x --wait --timeout 5s -- echo in; umount mnt";
    let output = output(attack.sandbox.command("unshare").args(["-m", "sh", "-c", script]));
    if output.code == 199 || output.stderr.contains("unshare failed") {
        return skipped(Lack::behind("bindfs"), &format!("no FUSE file system: {}", output.stderr));
    }
    assert_eq!(output.stdout, "in\n", "{output:?}");
}
