//! Results on stdout, messages on stderr, and either of them closed, full or gone.

use super::transcript::{check, sandbox, sh};

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = sandbox();
    for command in ["--help", "status --json", "why x", "lock x --json", "unlock x"] {
        let output = sh(&sandbox, &format!("{{ lokt {command}; echo $? >&2; }} | :"));
        assert_eq!(output.stderr, "0\n", "{command}");
    }
}

#[test]
fn closed_streams_change_neither_the_outcome_nor_the_exit_code() {
    check(
        &sandbox(),
        r#"
        $ lokt lock x >&-
        $ lokt lock x 2>&-
        = 2
        $ lokt lock x --json >&- 2>&- <&-
        = 2
        $ lokt bogus 2>&-
        = 64
        $ lokt --help >&-
        $ lokt guard y -- sh -c 'exit 3' <&- >&- 2>&-
        = 3
        $ lokt unlock x >&- 2>&-
        $ lokt exists x
        = 3
        "#,
    );
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_but_a_message_is_not() {
    check(
        &sandbox(),
        r#"
        $ lokt lock x 2>/dev/full
        acquired lock "x"
        $ lokt lock x 2>/dev/full
        = 2
        $ lokt status >/dev/full
        ! lokt: failed to write the result: No space left on device
        = 1
        $ lokt --help >/dev/full
        ! lokt: failed to write the result: No space left on device
        = 1
        $ lokt guard --help >/dev/full
        ! lokt: failed to write the result: No space left on device
        = 1
        $ lokt --version >/dev/full
        ! lokt: failed to write the result: No space left on device
        = 1
        $ lokt >/dev/full
        ! lokt: failed to write the result: No space left on device
        = 1
        "#,
    );
}

#[test]
fn the_command_inherits_the_liveness_of_its_lock_and_nothing_else_of_the_root() {
    check(
        &sandbox(),
        r#"
        $ lokt guard x -- sh -c 'ls -l /proc/self/fd | grep -o -e "root/[a-z]*"'
        root/sessions
        "#,
    );
}
