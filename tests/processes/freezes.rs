//! Freezes on a disk that fails: what was done is told, and what failed leaves nothing behind.

use lokt_tests::sandbox::{start, strace_available};

use crate::helpers::{queue, sandbox, traced};

#[test]
fn a_freeze_that_is_not_sure_to_last_is_not_placed() {
    if !strace_available("a freeze that is not sure to last is not placed") {
        return;
    }
    let sandbox = sandbox();
    // The first is its file's, the second that of the directory.
    for failing in ["fsync:error=EIO:when=1", "fsync:error=EIO:when=2"] {
        let frozen = start(&mut traced(&sandbox, &[failing], &["freeze", "x", "--ttl", "1h"])).output();
        assert_eq!(frozen.code, 1, "{frozen:?}");
        assert_eq!(sandbox.run(["guard", "x", "--", "true"]).code, 0, "it said that it failed");
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_end_of_a_freeze_that_is_not_sure_to_last_is_told_all_the_same() {
    if !strace_available("the end of a freeze that is not sure to last is told all the same") {
        return;
    }
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["freeze", "x", "--ttl", "1h"]).code, 0);
    let mut waiter = queue(&sandbox, &["guard", "x", "--wait"]);
    let lifted = start(&mut traced(&sandbox, &["fsync:error=EIO"], &["unfreeze", "x"])).output();
    assert_eq!((lifted.code, lifted.stdout.as_str()), (0, "unfrozen \"x\"\n"), "{lifted:?}");
    assert!(lifted.stderr.contains("may be back after a power cut"), "{lifted:?}");
    waiter.await_line("in");
    assert_eq!(waiter.output().code, 0);
    let log = sandbox.run(["audit", "--event", "unfreeze"]).stdout;
    assert_eq!(log.lines().count(), 1, "{log}");
}
